"""Tell people how a job ended, and when its or the month's money reaches a threshold.

Thresholds are told once each and recorded. What is reached, and who hears of it, is decided in
`budget`; here it is written down and sent.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from brightrun import budget, losses, news, retrying
from brightrun.accounts import losses_of
from brightrun.budget import Alert
from brightrun.context import JobContext
from brightrun.errors import StopFailed
from brightrun.ledger import ApprovalRow, AttemptRow, JobRow, Status
from brightrun.money import shown
from brightrun.monthalarms import of_month, scope_of
from brightrun.notify import Message
from brightrun.posting import Raised, post, put_out_once, send_raised, write_down
from brightrun.remains import kept
from brightrun.sharedserver import run_pages


def ended(job: JobContext, what: str) -> None:
    """Tell on all channels how a job ended; `what` completes "job X ..."."""
    message = news_of(job, what)
    undelivered(job, message.title, post(job.ledger, message))
    if job.ledger.job(job.job_id).status == Status.completed:
        quality(job)


def began(job: JobContext) -> threading.Thread:
    """Tell that it started; returns the delivery under way."""
    return on_its_way(job, [written(job, news_of(job, "started"))])


def written(job: JobContext, message: Message) -> Raised:
    return write_down(job.ledger, message, "", at=datetime.now(UTC))


def on_its_way(job: JobContext, letters: Sequence[Raised]) -> threading.Thread:
    """Sent by a thread of its own: a server that is slow or away keeps no job waiting."""
    sending = threading.Thread(target=deliver, args=(job, letters))
    sending.start()
    return sending


def news_of(job: JobContext, what: str) -> Message:
    """A job's turn with its links, what it left, and how to go on."""
    row = job.ledger.job(job.job_id)
    lines = [f"File: {row.training_file}", f"Requested by: {row.requested_by or 'unknown'}"]
    pods = job.ledger.attempts(job.job_id)
    times = len(losses.successions(pods))
    if said := losses.sentence(times, losses_of(job), job.progress().resumed):
        lines.append(said)
    links = links_of(job, row)
    if row.report_html:
        lines.append(f"Report: {job.report_url}")
    if row.status in (Status.paused, Status.failed, Status.cancelled):
        lines.append(kept(job, job.clock.now()))
    if row.error is not None:
        lines += [str(row.error["message"]), f"Fix: {row.error['fix']}"]
    if row.error is not None or row.status == Status.paused:
        lines.append(f"Go on: brightrun train --resume {job.job_id}")
    if row.error is not None:
        offered = retrying.suggested(job.request, row.error)
        with_ = f", with {'; '.join(map(str, offered))}" if offered else ""
        lines.append(f"Or again: {retrying.command(job.job_id, offered)}{with_}")
        if own := retrying.by_pod(row.error):
            lines.append(f"Then: {own}")
    title = f"Bright Run job {job.job_id} {what}"
    about = {"kind": what, "job_id": job.job_id, "links": links}
    return Message(title=title, lines=tuple(lines), **about)


def links_of(job: JobContext, row: JobRow) -> tuple[tuple[str, str], ...]:
    """The run's page and the report, as far as there is a server that shows them."""
    pages = [("Report", job.report_url)] if row.report_html and job.settings.reports_url else []
    if row.flow_run_id and (root := run_pages(job.settings)):
        pages.append(("Run", f"{root}/runs/flow-run/{row.flow_run_id}"))
    return tuple(pages)


def quality(job: JobContext) -> None:
    """Claims that a finished job does not carry, with the retry that would mend them.

    An assessment trained nothing: there is nothing to train again.
    """
    if job.request.assesses:
        return
    found = job.ledger.evaluation(job.job_id)
    values = job.request.values.model_dump()
    lines = news.below_target(job.job_id, values, found.verdicts if found else ())
    if lines:
        title = f"Bright Run job {job.job_id} is below target"
        about = {"kind": "quality", "job_id": job.job_id}
        message = Message(title=title, lines=lines, **about)
        undelivered(job, title, post(job.ledger, message, f"quality:{job.job_id}"))


def waiting(job: JobContext, reasons: Sequence[str]) -> None:
    """A person has to answer at the gate."""
    row = job.ledger.job(job.job_id)
    lines = (
        *reasons,
        f"File: {row.training_file}; requested by: {row.requested_by or 'unknown'}",
        f"Approve: brightrun approve {job.job_id} --approver NAME (or --reject)",
    )
    title = f"Bright Run job {job.job_id} waits for an approval"
    about = {"kind": "waiting", "job_id": job.job_id, "links": links_of(job, row)}
    undelivered(job, title, post(job.ledger, Message(title=title, lines=lines, **about)))


def happened(job: JobContext) -> list[Raised]:
    """Interruptions, their ends and a stuck pod, each once."""
    now, row = job.clock.now(), job.ledger.job(job.job_id)
    pods = job.ledger.attempts(job.job_id)
    moved = job.ledger.last_progress_at(job.job_id)
    after = timedelta(minutes=job.settings.stuck_minutes)
    found: list[Raised] = []
    for item in news.news(row, pods, moved, after, now):
        about = {"kind": item.kind, "job_id": job.job_id, "links": links_of(job, row)}
        said = partial(Message, title=item.title, lines=item.lines, **about)
        if raised := put_out_once(job.ledger, job.job_id, item.key, said):
            found.append(raised)
    return found


def stop_failed(job: JobContext, attempt: AttemptRow, error: StopFailed) -> None:
    """A pod that cannot be ended may bill: every channel, an event, again every day."""
    pod, day = attempt.pod_name, f"{job.clock.now():%Y-%m-%d}"
    said = partial(unstoppable, pod, attempt.provider, attempt.usd_per_hour, error)
    if raised := put_out_once(job.ledger, pod, day, said):
        job.note("error", error.as_dict())
        deliver(job, [raised])


def unstoppable(
    pod: str, provider: str, usd_per_hour: Decimal | None, error: StopFailed
) -> Message:
    price = "an unknown price" if usd_per_hour is None else f"{shown(usd_per_hour)} per hour"
    lines = (f"At {provider}, {price}", error.message, f"Do: {error.fix}")
    title = f"Bright Run: pod {pod} cannot be ended and may bill"
    return Message(title=title, lines=lines, kind="stop_failed")


def undelivered(job: JobContext, title: str, problems: Sequence[str]) -> None:
    """A channel that fails is a warning event, never a failed job."""
    for problem in problems:
        job.note("warning", {"code": "notify", "message": f"not delivered: {title}: {problem}"})


def check(job: JobContext) -> list[threading.Thread]:
    """Raise what is newly reached; returns the deliveries under way.

    A slow mail server must not keep a pod's lease from being renewed: messages go their own way.
    Its hard limit stops the job, and a month that is used up unless its approval overrode that.
    """
    now = job.clock.now()
    row = job.ledger.job(job.job_id)
    months = [state for state in job.ledger.budget_states(now, row.client) if state is not None]
    likely = Decimal(str((row.estimate or {}).get("cost_usd", {}).get("likely", 0)))
    spent = job.ledger.cost_so_far(job.job_id, now)
    found = [(job.job_id, a) for a in budget.cost_alerts(spent, likely, row.hard_limit_usd)]
    for state in months:
        found += [(scope_of(state), alert) for alert in budget.month_alerts(state)]
        over = budget.month_stop(state)
        if over is not None and not overrides_budget(job):
            found.append((job.job_id, over))
    stop = next((alert for _, alert in found if alert.stops), None)
    if stop is not None and job.folder.stop_request() is None:
        job.folder.request_stop("budget", stop.message, now)
    letters = [raised for scope, alert in found if (raised := announced(job, scope, alert))]
    letters += happened(job)
    return [on_its_way(job, letters)] if letters else []


def overrides_budget(job: JobContext) -> bool:
    """Whether the job passed the gate by an approval that says so (as told at the gate)."""
    passed = job.folder.read_json("gate.json") if job.folder.exists("gate.json") else {}
    return bool(passed.get("override_budget", False))


def announced(job: JobContext, scope: str, alert: Alert) -> Raised | None:
    """A message for the alert's channels and an event of the job; None: it was told before."""
    raised = put_out_once(
        job.ledger,
        scope,
        alert.threshold,
        partial(worded, job, scope, alert),
        budget.channels(alert),
    )
    if raised is not None:
        about = "this job" if scope == job.job_id else f"the month {scope}"
        said = {"code": "budget", "scope": scope, "threshold": alert.threshold}
        job.note("warning", {**said, "message": f"Money of {about}: {alert.message}"})
    return raised


def worded(job: JobContext, scope: str, alert: Alert) -> Message:
    name = job.ledger.job(job.job_id).name
    return Message(
        kind="cost" if scope == job.job_id else "budget",
        job_id=job.job_id,
        title=f"Bright Run: {alert.message}",
        lines=(
            f"Reached by job {job.job_id}" + (f" ({name})" if name else ""),
            what_now(job.job_id, alert),
            *(() if scope == job.job_id else of_month(job.ledger, alert, job.clock.now())),
        ),
    )


def what_now(job_id: str, alert: Alert) -> str:
    """What happens by itself, or what the reader can do."""
    if alert.stops:
        return (
            "It saves a checkpoint and stops; go on, with a new estimate and gate: "
            f"brightrun train --resume {job_id}"
        )
    return f"Stop it: brightrun cancel {job_id} (its checkpoints are kept)"


def approved(job: JobContext, word: ApprovalRow) -> threading.Thread:
    """An approval above the limits: whoever keeps the budget hears of it; the delivery."""
    row, high = job.ledger.job(job.job_id), word.estimate_high_usd
    cost = "" if high is None else f", may cost {shown(high)}"
    lines = [
        f"By {word.approver}" + (f": {word.note}" if word.note else ""),
        f"Job {job.job_id} {row.name}".rstrip() + f"{cost}; client: {row.client or 'none'}",
        f"The month's budget is overridden: {'yes' if word.overrides else 'no'}",
        f"Stop it: brightrun cancel {job.job_id}",
    ]
    title = f"Bright Run job {job.job_id} was approved"
    message = Message(title=title, lines=tuple(lines), kind="approved", job_id=job.job_id)
    return on_its_way(job, [written(job, message)])


def deliver(job: JobContext, letters: Sequence[Raised]) -> None:
    """One after the other; a failure becomes a warning event, and is tried again."""
    for raised in letters:
        undelivered(job, raised.message.title, send_raised(job.ledger, raised))
