"""Commands about a job that exists: wait, approve, cancel; and how a run's result is told."""

from __future__ import annotations

import getpass
import subprocess
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from brightrun.errors import ConfigurationError
from flows.lifecycle_ids import JOB_ID_PATTERN, submitted
from flows.options import Job, Json

WAITING = 3


def wait(
    job: Job,
    timeout: Annotated[float, typer.Option(help="Give up after so many seconds. 0 = never.")] = 0,
    json: Json = False,
) -> None:
    """Follow a job until it ended; exits like `train` does."""
    from brightrun.context import open_job
    from flows.outcome import summary
    from flows.screen import Screen
    from flows.terminal import say

    began = time.monotonic()
    while True:
        try:
            job_id = open_job(job).job_id
            break
        except ConfigurationError:
            # A submitted run needs a moment to be picked up; what is no whole id is not awaited.
            if not JOB_ID_PATTERN.fullmatch(job) or time.monotonic() - began > 60:
                raise
            time.sleep(1)
    if waits := submitted(open_job(job_id).ledger.job(job_id)):
        say(f"Job {job_id} is {waits}", "yellow")
    with Screen(job_id):
        while True:
            row = open_job(job_id).ledger.job(job_id)
            if row.at_rest or row.status == "awaiting_approval":
                break
            if timeout and time.monotonic() - began > timeout:
                raise ConfigurationError(f"job {job_id} is still {row.status} after {timeout:g} s")
            time.sleep(1)
    finish(summary(job_id), json)


def approve(
    job: Job,
    approver: Annotated[str, typer.Option(help="Your name; it is recorded.")],
    reject: Annotated[
        bool, typer.Option("--reject", help="End the job; nothing is spent.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
    override_budget: Annotated[
        bool,
        typer.Option(
            "--override-budget", help="Although the month's budget is passed; needs --reason."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Approve or reject a job that waits at the gate."""
    if not approver.strip():
        raise typer.BadParameter("--approver is blank: give the name of who decides")
    if override_budget and not reason.strip():
        raise typer.BadParameter("--override-budget needs its --reason, for the audit")
    from brightrun.context import open_job
    from brightrun.ledger import Status
    from flows import ui_runs
    from flows.terminal import emit, say

    known = open_job(job)
    row = known.ledger.job(known.job_id)
    if row.status != Status.awaiting_approval:
        raise ConfigurationError(
            f"job {known.job_id} is {row.status}, it does not wait at the gate"
        )
    known.ledger.add_approval(
        known.job_id,
        approved=not reject,
        approver=approver,
        note=reason,
        override_budget=override_budget,
    )
    went_on = ui_runs.resume(row.flow_run_id, not reject, approver, reason, override_budget)
    if reject and not went_on:
        known.ledger.update_job(known.job_id, status=Status.rejected, finished_at=datetime.now(UTC))
    if json:
        emit({"job_id": known.job_id, "approved": not reject, "resumed": went_on})
    elif reject:
        say(f"Rejected {known.job_id}; nothing was spent.")
    else:
        tail = "it goes on." if went_on else f"go on with: brightrun train --resume {known.job_id}"
        say(f"Approved {known.job_id}; {tail}")


def cancel(
    job: Job,
    by: Annotated[str, typer.Option(help="Who cancels. Default: git or system user.")] = "",
    json: Json = False,
) -> None:
    """Stop a job: its pod saves a checkpoint and goes. `train --resume` goes on later."""
    from brightrun import remains, steering
    from brightrun.context import open_job
    from brightrun.ledger import Status
    from flows import running, sweeper, ui_runs
    from flows.terminal import emit, say

    known = open_job(job)
    row = known.ledger.job(known.job_id)
    if submitted(row):
        running.server_for(known.settings)  # its run would start with the server
    steering.cancel(known, by or whoami())
    ui_runs.cancel_waiting(row.flow_run_id)
    ended = sweeper.end_undriven(known, Status.cancelled)
    found = remains.facts(known, datetime.now(UTC))
    if json:
        emit(found)
    verb = "Cancelled" if ended else "Cancelling"
    if not ended and (now := known.ledger.job(known.job_id)).is_final:
        verb = f"Already {now.status}:"
    say(f"{verb} {known.job_id}: {found['kept']}.")


def finish(found: dict[str, Any], as_json: bool) -> None:
    """Print a run's result; exit 0 only when it completed, 3 when it waits."""
    from flows.outcome import show
    from flows.terminal import emit

    if as_json:
        emit(found)
    else:
        show(found)
    codes = {"completed": 0, "awaiting_approval": WAITING, "paused": WAITING}
    raise typer.Exit(codes.get(found["status"], 1))


def whoami() -> str:
    """git's user.name here, else the system's user."""
    try:
        done = subprocess.run(
            ["git", "config", "user.name"], capture_output=True, text=True, check=False
        )
    except OSError:  # a machine without git, or where it may not be run
        return getpass.getuser()
    return done.stdout.strip() or getpass.getuser()
