"""Tell people: write it down for everybody who wants it, send what is due, try the rest again.

    problems = post(ledger, message, key)      # what could not be sent now; it is tried again
    raised = put_out_once(ledger, scope, threshold, compose)    # an alarm; send_raised sends it
    deliver_due(ledger, now)                   # called every five minutes by the reaper's flow

A message is told once per key and address. Nothing here raises because of a channel or a letter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from brightrun import webhook
from brightrun.errors import ConfigurationError
from brightrun.frozen import Frozen
from brightrun.ledger import Ledger
from brightrun.ledger_outbox import Letter
from brightrun.notify import EmailNotifier, Message, SlackNotifier
from brightrun.people import Route, default_people, load_people, routes
from brightrun.settings import Settings

BOTH = ("slack", "email")
SENDING = timedelta(minutes=4)  # the reaper's flow, which looks every five, goes on with the rest


class Raised(Frozen):
    """An alarm that stands in the outbox; problems: why not everybody may hear of it."""

    message: Message
    key: str
    problems: tuple[str, ...] = ()


def post(
    ledger: Ledger,
    message: Message,
    key: str = "",
    *,
    only: Sequence[str] = BOTH,
    now: datetime | None = None,
) -> list[str]:
    """Write a message down and send what is due of it; returns what went wrong.

    key: what it tells, so that nobody hears it twice; "": it is news each time.
    """
    at = now or datetime.now(UTC)
    written = write_down(ledger, message, key, only=only, at=at)
    return [*written.problems, *deliver_due(ledger, at, written.key)]


def write_down(
    ledger: Ledger, message: Message, key: str, *, only: Sequence[str] = BOTH, at: datetime
) -> Raised:
    """What `send_raised` sends, whenever that is."""
    label = key or f"{message.kind}:{message.job_id}:{at.isoformat()}"
    problems = put_out(ledger, message, label, only=only, at=at)
    return Raised(message=message, key=label, problems=tuple(problems))


def put_out(
    ledger: Ledger, message: Message, key: str, *, only: Sequence[str], at: datetime
) -> list[str]:
    """Write a message down for everybody who wants it, and send nothing; returns what is wrong."""
    settings = ledger.settings
    there = channels_of(settings)
    wanted = [channel for channel in only if channel in there]
    problems = []
    try:
        people = load_people(settings)
    except ConfigurationError as error:  # a broken file must not silence an alarm
        people, problems = default_people(settings), [error.message]
    found = list(routes(people, message.kind, at, wanted, there))
    if settings.webhook_url:
        found.append(Route(channel="webhook", address="webhook", due=at))
        message = message.model_copy(update={"facts": facts_of(ledger, message.job_id, at)})
    ledger.put_out(key, message.model_dump(), found, job_id=message.job_id, at=at)
    return problems


def facts_of(ledger: Ledger, job_id: str, at: datetime) -> dict[str, Any]:
    """A job as a program wants it, at the moment of its news; {}: it is of no job."""
    try:
        row = ledger.job(job_id)
    except ConfigurationError:
        return {}
    estimate = (row.estimate or {}).get("cost_usd", {})
    return {
        "status": str(row.status),
        "name": row.name,
        "client": row.client,
        "preset": row.preset,
        "provider": row.provider,
        "training_file": row.training_file,
        "requested_by": row.requested_by,
        "cost_usd": float(ledger.cost_so_far(job_id, at)),
        "likely_usd": estimate.get("likely"),
        "error": (row.error or {}).get("code"),
    }


def put_out_once(
    ledger: Ledger,
    scope: str,
    threshold: str,
    compose: Callable[[], Message],
    only: Sequence[str] = BOTH,
) -> Raised | None:
    """Write an alarm down once per scope and threshold; None: it was before.

    It is in the outbox before it counts as told: whoever is killed in between loses no alarm, and
    the next one's copy has the same key.
    """
    if ledger.alert_told(scope, threshold):
        return None
    message, key = compose(), f"{scope}:{threshold}"
    problems = put_out(ledger, message, key, only=only, at=datetime.now(UTC))
    told = ledger.record_alert(scope, threshold, message.title)
    return Raised(message=message, key=key, problems=tuple(problems)) if told else None


def send_raised(ledger: Ledger, raised: Raised) -> list[str]:
    """Send an alarm; returns what could not be delivered, which is tried again."""
    return [*raised.problems, *deliver_due(ledger, datetime.now(UTC), raised.key)]


def channels_of(settings: Settings) -> tuple[str, ...]:
    """The channels that are configured; none by default."""
    slack = ("slack",) if settings.slack_token is not None else ()
    return (*slack, "email") if settings.smtp_host and settings.email_from else slack


def deliver_due(ledger: Ledger, now: datetime, key: str = "") -> list[str]:
    """Send what is due (of one key, or all), as far as time allows; returns what went wrong."""
    problems, began, at = [], time.monotonic(), now
    while at - now < SENDING and (letter := ledger.take_due(at, key)):
        try:
            problem = send(ledger, letter, at)
        except Exception as error:  # noqa: BLE001 one letter must not hold up those behind it
            problem = f"{letter.channel}: {type(error).__name__}"
        at = now + timedelta(seconds=time.monotonic() - began)
        if problem is None:
            ledger.delivered(letter, at)
        else:
            ledger.not_delivered(letter, problem, at)
            problems.append(problem)
    return problems


def send(ledger: Ledger, letter: Letter, now: datetime) -> str | None:
    """One letter on its channel; what went wrong, or None."""
    settings, message = ledger.settings, Message.model_validate(letter.message)
    if letter.channel == "webhook":
        at, kind = letter.created_at, message.kind
        event = webhook.event_of(str(letter.id), kind, letter.job_id, at, letter.message)
        return webhook.send(settings, event, now)
    if letter.channel == "email":
        return EmailNotifier(settings, letter.address).send(message)
    thread = ledger.thread_of(letter.job_id, letter.address) if letter.job_id else ""
    slack = SlackNotifier.of(settings, letter.address, thread)
    if slack is None:  # switched off since it was written down
        return "slack: no token is set"
    problem = slack.send(message)
    if problem is None and letter.job_id and not thread and slack.posted:
        ledger.begin_thread(letter.job_id, letter.address, slack.posted)
    return problem
