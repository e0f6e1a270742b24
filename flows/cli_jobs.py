"""Commands that look at a job: show, events, watch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.errors import UsageError
from flows import cli_money
from flows.lifecycle_ids import submitted
from flows.options import Job, Json

if TYPE_CHECKING:
    from brightrun.context import JobContext
    from brightrun.ledger import ApprovalRow, EventRow
    from brightrun.losses import Loss
    from brightrun.starts import Start

LONGEST_FACT = 60


def show(job: Job, json: Json = False) -> None:
    """One job: request, estimate, gate, attempts, progress, cost, result."""
    from brightrun import accounts, history
    from brightrun.context import open_job
    from brightrun.ledger import Status
    from flows.outcome import show as show_result
    from flows.outcome import summary
    from flows.terminal import emit, facts, money, say, span, table
    from reports.jobcards import revised_sentence

    known = open_job(job)
    row, state = known.ledger.job(known.job_id), known.progress()
    pods = known.ledger.attempts(known.job_id)
    word = known.ledger.approval(known.job_id)
    bill, against = accounts.bill_of(known), accounts.reckoning_of(known)
    if json:
        emit(
            {
                **_brief(row),
                "waits": submitted(row),
                "request": row.request,
                "estimate": row.estimate,
                "revised": known.revised(state),
                "approval": _plain(word) if word else None,
                "attempts": [_plain(p) for p in pods],
                "cost": {
                    "bill": bill.as_json(),
                    "against_estimate": against and against.as_json(),
                },
                "starts": [
                    {**start.model_dump(mode="json"), "total_s": start.total_s}
                    for start in accounts.starts_of(known)
                ],
                "progress": state.model_dump(mode="json", exclude={"losses"}),
                "result": summary(known.job_id),
                "beside_others": others(known) if row.status == Status.completed else None,
            }
        )
        return
    about = [(k.replace("_", " "), v) for k, v in _brief(row).items() if k != "job_id"]
    facts(f"Job {known.job_id}", [*about, ("waits", submitted(row))])
    if word is not None:
        facts("Gate", [(f"{answer_of(known, word)} by", word.approver), ("note", word.note)])
    if found := known.revised(state):
        facts("Estimate", [("by the pod", revised_sentence(found))])
    table(
        "Stages",
        ("stage", "status", "estimated", "elapsed"),
        [(s.name, s.status, span(s.expected_s), span(s.elapsed_s)) for s in state.stages],
    )
    table(
        "Pods",
        ("no.", "pod", "outcome", "from", "to step", "cost"),
        [
            (p.number, p.pod_name, p.outcome or "running", p.resumed_from, p.last_step,
             "-" if p.cost_usd is None else money(float(p.cost_usd)))
            for p in pods
        ],
        keep=("no.", "pod", "from", "to step", "cost"),
    )  # fmt: skip
    show_starts(accounts.starts_of(known))
    show_losses(accounts.losses_of(known))
    if pods:
        cli_money.tell_cost(row, bill, against)
    for text in state.warnings:
        say(f"Warning: {text}", "yellow")
    if row.status == Status.completed:
        facts("Beside others", [("history", history.history_sentence(others(known)))])
    show_result(summary(known.job_id))


def others(job: JobContext) -> dict[str, Any]:
    """A finished job against the others of its preset, provider and file."""
    from brightrun import history

    row = job.ledger.job(job.job_id)
    rows = job.ledger.history(history.Wanted(preset=row.preset), datetime.now(UTC))
    mine = next(other for other in rows if other.job_id == job.job_id)
    return history.beside_others(mine, rows)


def show_starts(found: tuple[Start, ...]) -> None:
    """From a pod that is wanted to its first step, by part."""
    from brightrun.starts import PARTS
    from flows.terminal import span, table

    columns = ("pod", *PARTS, "in all")
    rows = [
        (start.attempt, *(span(start.parts[part]) for part in PARTS), span(start.total_s))
        for start in found
    ]
    if rows:
        table("To the first step", columns, rows, keep=columns)


def show_losses(found: tuple[Loss, ...]) -> None:
    """The parts of each restart, from the loss of a pod to the first step of the next one."""
    from flows.terminal import money, span, table

    columns = ("pod", "detect", "start", "import", "load", "restore", "step", "again", "cost")
    parts = ("detect_s", "start_s", "import_s", "load_s", "restore_s", "step_s", "repeated_s")
    rows = [
        (
            loss.attempt,
            *(span(getattr(loss.restart, part)) if loss.restart else "-" for part in parts),
            money(float(loss.usd)),
        )
        for loss in found
    ]
    if rows:
        table("Interruptions", columns, rows, keep=columns)


def answer_of(job: JobContext, word: ApprovalRow) -> str:
    """What the last word did: below the limits it confirmed, above them it approved."""
    if not word.approved:
        return "rejected"
    if not job.folder.exists("gate.json"):
        return "agreed to"
    return str(job.folder.read_json("gate.json").get("how", "approved"))


def events(
    job: Job,
    type_: Annotated[
        str, typer.Option("--type", help="stage, metric, checkpoint, warning ...")
    ] = "",
    attempt: Annotated[int | None, typer.Option(help="Only this pod; 0 = control plane.")] = None,
    grep: Annotated[
        str, typer.Option(help="Only what fits this pattern (regular expression).")
    ] = "",
    since: Annotated[
        str, typer.Option(help="Only from then on: 2026-11-22T08:00, or 90s, 10m, 2h, 1d.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    json: Json = False,
) -> None:
    """What happened, event by event: time (UTC), who said it, kind, facts. All of them: --json.

    With --follow --json each event is a line of its own.
    Example: `brightrun events 261122-ab12cd --type warning --since 2h`
    """
    from brightrun.context import open_job
    from flows.terminal import emit, tell

    known, wanted = open_job(job), wanted_events(grep, since)
    rows = known.ledger.events(known.job_id, attempt, type_ or None)
    if json and not follow:
        kept = [_plain(row) for row in rows if wanted(row)]
        emit({"job_id": known.job_id, "events": kept})
        return
    last = 0
    while True:
        for row in sorted(rows, key=lambda row: (row.ts, row.attempt, row.seq)):
            last = max(last, row.id)
            if wanted(row):
                tell(dumps(_plain(row), default=str) if json else line_of(row))
        if not follow or known.ledger.job(known.job_id).at_rest:
            return
        time.sleep(1)
        rows = known.ledger.events(known.job_id, attempt, type_ or None, after_id=max(1, last))


def line_of(row: EventRow) -> str:
    who = f"pod {row.attempt}" if row.attempt else "job"
    return f"{row.ts:%H:%M:%S}  {who:<6} {row.type:<10} {facts_of(row.payload)}"


def wanted_events(grep: str, since: str) -> Callable[[EventRow], bool]:
    """Which events to show; UsageError: no pattern, no time."""
    from brightrun.settings import load
    from flows.options import moment_of

    try:
        pattern = re.compile(grep)
    except re.error as error:
        raise UsageError(f"--grep {grep!r}: {error}", fix="quote what is no pattern") from None
    ago = re.fullmatch(r"(\d+)([smhd])", since)
    if ago:
        seconds = int(ago[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[ago[2]]
        first = datetime.now(UTC) - timedelta(seconds=seconds)
    else:
        first = moment_of(since, load().zone) if since else datetime.min.replace(tzinfo=UTC)
    return lambda row: row.ts >= first and bool(pattern.search(line_of(row)))


def facts_of(payload: dict[str, Any]) -> str:
    """An event's facts in a line: `name training, status started`."""
    return ", ".join(f"{key} {fact(value)}" for key, value in payload.items() if value is not None)


def fact(value: Any) -> str:
    """Numbers in four digits; what is long is left to --json."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_FACT or isinstance(value, str) else "..."


def watch(
    job: Annotated[str, typer.Argument(help="Job id; default: all active jobs")] = "",
    once: Annotated[bool, typer.Option("--once", help="Write the page and the view once.")] = False,
    json: Json = False,
) -> None:
    """Live view here, and a self-refreshing page (live.html) of all active jobs."""
    from brightrun.context import open_job
    from flows.running import stop_like_ctrl_c
    from flows.screen import watch_jobs
    from flows.terminal import emit, say

    stop_like_ctrl_c()
    if job:
        open_job(job)
    place = watch_page()
    say(f"Page: {place.as_uri()}")
    found = watch_jobs(job, place, once=once or json, quiet=json)
    if json:
        emit({"page": str(place), "jobs": found})


def watch_page() -> Path:
    from brightrun.settings import load

    return load().home.resolve() / "reports" / "live.html"


def _brief(row: Any) -> dict[str, Any]:
    return {
        "job_id": row.job_id,
        "status": str(row.status),
        "stage": row.stage,
        "name": row.name,
        "preset": row.preset,
        "client": row.client,
        "requested_by": row.requested_by,
        "training_file": row.training_file,
        "created": f"{row.created_at:%Y-%m-%d %H:%M}",
        "notes": row.notes,
    }


def _plain(row: Any) -> dict[str, Any]:
    """A frozen row as JSON-ready values."""
    from dataclasses import asdict

    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(row).items()}
