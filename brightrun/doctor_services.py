"""What doctor asks of services: ledger, storage, RunPod, and who brings messages.

The storage is written to and read and the object removed again; all else only reads.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from brightrun import copies, podcredentials, preflight, shelter
from brightrun import webhook as webhooks
from brightrun.compute.provider import OURS
from brightrun.compute.runpod import templates
from brightrun.compute.runpod.provider import BY_DIGEST, RunPodProvider
from brightrun.errors import ProviderError
from brightrun.findings import Finding
from brightrun.ledger_schema import REVISION
from brightrun.ledger_store import newer, standing
from brightrun.money import shown
from brightrun.notify import EmailNotifier, Message, SlackNotifier
from brightrun.people import load_people
from brightrun.podenv import storage_url
from brightrun.posting import channels_of
from brightrun.settings import Settings

MAKE = "brightrun setup (jobs make it too)"
LOOK = "doctor"  # in the place of a job's id, where a pod's own prefix is tried out


def ledger(settings: Settings) -> Iterator[Finding]:
    """Reachable, and at this checkout's revision; nothing is created."""
    engine, found = standing(settings)
    where = engine.url.render_as_string(hide_password=True)
    if found is None:
        yield Finding(name="ledger", state="warn", said=f"{where} is not made yet", fix=MAKE)
    elif found > REVISION:
        told = newer(found)
        yield Finding(name="ledger", state="fail", said=f"{where}: {told.message}", fix=told.fix)
    elif found < REVISION:
        said = f"{where} has revision {found}, not {REVISION}"
        yield Finding(name="ledger", state="fail", said=said, fix=MAKE)
    else:
        yield Finding(name="ledger", state="ok", said=f"{where}, revision {found}")


def storage(settings: Settings) -> Iterator[Finding]:
    """Run folders: write, read and remove as the control plane does it."""
    url = settings.storage
    if url.startswith("file:") and not shelter.is_there(url):
        yield Finding(name="storage", state="warn", said=f"{url} is not made yet", fix=MAKE)
        return
    yield tried("storage", url)


def tried(name: str, url: str) -> Finding:
    """A folder or bucket with this machine's own keys."""
    place = f"{url}/doctor-{secrets.token_hex(4)}.txt"
    return trial(name, url, preflight.round_trip(f"cannot use {url}", place, shelter.hasty(url)))


def trial(name: str, url: str, problem: str) -> Finding:
    if not problem:
        return Finding(name=name, state="ok", said=f"{url}: written, read, removed")
    said, _, fix = problem.partition("; ")
    return Finding(name=name, state="fail", said=said, fix=fix)


def pod_storage(settings: Settings) -> Iterator[Finding]:
    """The same with what a rented pod gets, where it will see it."""
    if settings.runpod_api_key is None:
        return
    url = storage_url(settings)
    keys = podcredentials.of(settings, url, LOOK, LOOK)
    problems = tuple(preflight.storage(settings, LOOK, keys))
    yield trial("pod storage", url, "".join(problems))
    if more := podcredentials.warning(settings, url):
        yield Finding(
            name="pod storage",
            state="warn",
            said=more,
            fix="give a role or a session token: BRIGHTRUN_POD_STORAGE_ROLE",
        )


def runpod(settings: Settings) -> Iterator[Finding]:
    """Key, credit, prices, permission to list pods; image and volume."""
    if settings.runpod_api_key is None:
        yield Finding(
            name="runpod", state="skip", said="no key: jobs train on this machine",
            fix="set BRIGHTRUN_RUNPOD_API_KEY",
        )  # fmt: skip
        return
    account = RunPodProvider.of(settings, patient=False)
    pods = account.list(OURS)
    offers = account.offers()
    if offers:
        least = min(offers, key=lambda offer: offer.usd_per_hour)
        said = f"{len(offers)} offers from {shown(least.usd_per_hour)}/h, {len(pods)} pods of ours"
        yield Finding(name="runpod", state="ok", said=said)
    else:
        fix = "allow more of BRIGHTRUN_RUNPOD_CLOUDS, _DATA_CENTERS and _MIN_CUDA"
        yield Finding(name="runpod", state="warn", said="nothing is offered now", fix=fix)
    yield credit(account)
    yield image(settings)
    yield volume(settings, account)
    if BY_DIGEST.match(settings.runpod_image) and (
        lacking := templates.lacks(account.rest, account.place)
    ):
        said = f"{lacking}: jobs go on without it"
        yield Finding(name="runpod template", state="warn", said=said, fix="brightrun setup")


def credit(account: RunPodProvider) -> Finding:
    try:
        balance = account.balance()
    except ProviderError as error:
        return Finding(name="runpod credit", state="warn", said=error.message, fix=error.fix)
    if balance is None:
        said = "RunPod's API does not say it any more"
        fix = "see its console: at 0 every pod is stopped"
        return Finding(name="runpod credit", state="warn", said=said, fix=fix)
    said = f"{shown(balance.usd)} left, {shown(balance.spend_per_hour)}/h spent now"
    if balance.usd > Decimal(0):
        return Finding(name="runpod credit", state="ok", said=said)
    fix = "add credit in RunPod's console; a pod needs one hour's worth to start"
    return Finding(name="runpod credit", state="fail", said=said, fix=fix)


def image(settings: Settings) -> Finding:
    name = settings.runpod_image
    if not BY_DIGEST.match(name):
        said = f"{name!r} is no image by digest"
        fix = "set BRIGHTRUN_RUNPOD_IMAGE=NAME@sha256:... to a trainer image that you pushed"
        return Finding(name="runpod image", state="fail", said=said, fix=fix)
    stops, doubtful = preflight.image(settings)
    if stops:
        said, _, fix = stops.partition("; ")
        return Finding(name="runpod image", state="fail", said=said, fix=fix)
    if doubtful:
        fix = "set BRIGHTRUN_REGISTRY_USER and _TOKEN for this look"
        return Finding(name="runpod image", state="warn", said=doubtful, fix=fix)
    return Finding(name="runpod image", state="ok", said=f"{name} is in its registry")


def volume(settings: Settings, account: RunPodProvider) -> Finding:
    name = settings.volume
    if not name:
        said = "no network volume: every pod fetches its base model anew"
        fix = "brightrun setup volume (or BRIGHTRUN_RUNPOD_VOLUME: the id of one that you made)"
        return Finding(name="runpod volume", state="skip", said=said, fix=fix)
    made = copies.read(settings.volume_file)
    stored = ", ".join(copy.folder for copy in made.copies) if made and made.id == name else ""
    said = f"{name}: {account.volume_gb():.0f} GB in {account.volume_place()}"
    said += f"; NF4: {stored}" if stored else "; no NF4 copy on it (`brightrun setup volume`)"
    return Finding(name="runpod volume", state="ok", said=said)


def slack(settings: Settings) -> Iterator[Finding]:
    """The token is tried; nothing is posted."""
    bot = SlackNotifier.of(settings)
    if bot is None:
        said, fix = "no token: no messages on Slack", "set BRIGHTRUN_SLACK_TOKEN"
        yield Finding(name="slack", state="skip", said=said, fix=fix)
    elif problem := bot.reach():
        fix = "give BRIGHTRUN_SLACK_TOKEN a bot's token (xoxb-) with the scope chat:write"
        yield Finding(name="slack", state="fail", said=problem, fix=fix)
    else:
        yield Finding(name="slack", state="ok", said="the token is good; nothing was posted")


def email(settings: Settings) -> Iterator[Finding]:
    """Connected, encrypted, logged in; nothing is sent."""
    if not settings.smtp_host or not settings.email_from:
        said, fix = "no server and sender: no e-mail", "set BRIGHTRUN_SMTP_HOST and _EMAIL_FROM"
        yield Finding(name="email", state="skip", said=said, fix=fix)
        return
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    if problem := EmailNotifier(settings).reach():
        fix = "mend BRIGHTRUN_SMTP_HOST, _PORT, _USER, _PASSWORD, _STARTTLS or _IMPLICIT_TLS"
        yield Finding(name="email", state="fail", said=f"{problem} at {where}", fix=fix)
        return
    yield Finding(name="email", state="ok", said=f"{where} answers; nothing was sent")
    if settings.smtp_user and not EmailNotifier(settings).encrypted:
        said, fix = "the password goes unencrypted", "set BRIGHTRUN_SMTP_STARTTLS=true"
        yield Finding(name="email", state="warn", said=said, fix=fix)


def webhook(settings: Settings) -> Iterator[Finding]:
    if not settings.webhook_url:
        said, fix = "no address: no events to you", "set BRIGHTRUN_WEBHOOK_URL and _SECRET"
        yield Finding(name="webhook", state="skip", said=said, fix=fix)
    elif settings.webhook_secret is None:
        said, fix = "an address without a secret: nothing is sent", "set BRIGHTRUN_WEBHOOK_SECRET"
        yield Finding(name="webhook", state="fail", said=said, fix=fix)
    else:
        said = "address and secret are set; it is asked only with the next event"
        yield Finding(name="webhook", state="ok", said=said)


def deliveries(settings: Settings) -> Iterator[Finding]:
    """One message on every configured channel to everybody who has an address there."""
    message = Message(title="Bright Run: a test message", lines=("brightrun doctor --send asked.",))
    people, channels = load_people(settings), channels_of(settings)
    for channel in sorted({one.slack for one in people if one.slack}):
        if (bot := SlackNotifier.of(settings, channel)) is not None:
            yield delivery("slack", channel, bot.send(message))
    if "email" in channels:
        for address in sorted({one.email for one in people if one.email}):
            yield delivery("email", address, EmailNotifier(settings, address).send(message))
    if settings.webhook_url:
        now = datetime.now(UTC)
        event = webhooks.event_of("doctor", message.kind, "", now, message.model_dump())
        yield delivery("webhook", "your application", webhooks.send(settings, event, now))


def delivery(channel: str, to: str, problem: str | None) -> Finding:
    if problem is None:
        return Finding(name=f"{channel} message", state="ok", said=f"sent to {to}")
    fix = "mend the address or the channel's settings"
    return Finding(name=f"{channel} message", state="fail", said=f"{to}: {problem}", fix=fix)
