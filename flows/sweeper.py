"""Jobs whose driver is gone: their pods are released and their end is written down.

A run that is cancelled while it waits at the gate has no process, and a process that was killed
runs nothing: nobody but a sweeper can close their books. `make ui` sweeps four times a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from socket import gethostname

import httpx

from brightrun import attempts
from brightrun.attempts import JobCancelled
from brightrun.context import JobContext
from brightrun.errors import BrightRunError, InterruptionError
from brightrun.ledger import JobRow, Ledger, Status
from brightrun.ledger_jobs import process_is_alive
from brightrun.settings import Settings

ENDED = {"CANCELLED", "CRASHED", "FAILED"}
CANCELLED_IN_UI = "cancelled in the Prefect UI"


def close(job: JobContext, status: Status, error: BrightRunError) -> None:
    """Write a job's end down; a completed one stays so, whatever happens after it."""
    if job.ledger.job(job.job_id).status == Status.completed:
        return
    now = datetime.now(UTC)
    job.ledger.update_job(job.job_id, status=status, error=error.as_dict(), finished_at=now)
    job.note("error", error.as_dict())


def again(job_id: str) -> str:
    """How a person goes on with a job that ended early."""
    return f"`brightrun train --resume {job_id}` goes on where it stopped"


def ended_without_word(job: JobContext, state: str) -> None:
    """The run was cancelled or died, and the flow could not say so itself."""
    if is_driven(job.ledger.job(job.job_id)):
        return  # another process has taken the job over
    attempts.settle_open_attempts(job)
    if job.ledger.job(job.job_id).is_final:
        return
    if state == "CANCELLED":
        close(job, Status.cancelled, JobCancelled(CANCELLED_IN_UI, fix=again(job.job_id)))
        return
    error = InterruptionError(
        f"the process that drove job {job.job_id} is gone",
        cause="it was killed, or the machine was restarted",
        fix=again(job.job_id),
    )
    close(job, Status.failed, error)


def sweep(settings: Settings, state_of: Callable[[str], str]) -> list[str]:
    """Close every job that nobody drives any more; returns their ids.

    state_of: flow run id -> state type of that run (`run_state` of a server).
    """
    ledger, closed = Ledger.open(settings), []
    for row in ledger.jobs(None):
        if row.is_final or not row.flow_run_id or is_driven(row):
            continue
        job = JobContext(settings, ledger, row.job_id)
        state = state_of(row.flow_run_id)
        if state in ENDED or abandoned(job):
            ended_without_word(job, state)
            closed.append(row.job_id)
    return closed


def is_driven(row: JobRow) -> bool:
    """Another machine's driver counts as alive: its claim is judged there."""
    claim = row.claim
    return claim is not None and (
        claim.host != gethostname() or process_is_alive(claim.pid, claim.at)
    )


def abandoned(job: JobContext) -> bool:
    """A pod was rented, its driver died, and the lease in which it may be adopted is over."""
    if all(attempt.ended_at is not None for attempt in job.ledger.attempts(job.job_id)):
        return False
    lease = "control/lease.json"
    expires = job.folder.read_json(lease)["expires"] if job.folder.exists(lease) else 0.0
    return time.time() > float(expires)


def run_state(api_url: str, flow_run_id: str) -> str:
    """The state type of a flow run (RUNNING, CANCELLED ...); "" when the server has none."""
    found = httpx.get(f"{api_url}/flow_runs/{flow_run_id}", timeout=10)
    if found.status_code == 404:
        return ""
    found.raise_for_status()
    return str(found.json().get("state_type") or "")
