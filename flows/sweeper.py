"""Jobs whose driver is gone: they go on in another process, or their end is written down.

A run that is cancelled while it waits at the gate has no process, and a process that was killed
runs nothing: nobody but a sweeper can close their books. `make ui` and each station of a team
sweep four times a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from brightrun import accounts, alerts, attempts
from brightrun.context import JobContext, driver_name
from brightrun.errors import BrightRunError, InterruptionError
from brightrun.ledger import JobRow, Ledger, Status
from brightrun.ledger_jobs import is_driven
from brightrun.outages import told
from brightrun.stopping import JobCancelled
from brightrun.storagefaults import is_outage
from flows import reviving
from flows.lastcard import last_card
from flows.reviving import Queue, Seen, StateOf

log = logging.getLogger(__name__)

ENDED = {"CANCELLED", "CRASHED", "FAILED"}
UNFINISHED = ("PENDING", "RUNNING", "CANCELLING")
# A worker or a person has the next word.
WAITING = ("SCHEDULED", "PENDING", "PAUSED")
SHOWN = {
    Status.cancelled: "CANCELLED",
    Status.completed: "COMPLETED",
    Status.rejected: "COMPLETED",
    Status.paused: "COMPLETED",
}
# As a run that can say it itself is called (lifecycle.outcome).
NAMES = {Status.rejected: "Rejected", Status.paused: "Paused"}
# With --resume.
GOES_ON = (Status.cancelled, Status.failed, Status.paused)
GRACE_SECONDS = 60.0
# A pod that is asked to stop saves its checkpoint within this time.
SAVING_SECONDS = 60.0
CANCELLED_IN_UI = "cancelled in the Prefect UI"


def close(job: JobContext, status: Status, error: BrightRunError) -> bool:
    """Write a job's end down; False: it has ended already, whatever happened after that."""
    ended = job.ledger.end_job(job.job_id, status, error.as_dict())
    if ended:
        accounts.settle(job)
        job.note("error", error.as_dict())
    return ended


def again(job_id: str) -> str:
    """How a person goes on with a job that ended early."""
    return f"`brightrun train --resume {job_id}` goes on where it stopped"


def ended_without_word(job: JobContext, state: str) -> None:
    """The run was cancelled or died, and the flow could not say so itself."""
    row = job.ledger.job(job.job_id)
    if is_driven(row):
        return  # another process has taken the job over
    attempts.settle_open_attempts(job)
    if row.at_rest:
        return
    if state in ("CANCELLED", "CANCELLING"):
        close(job, Status.cancelled, JobCancelled(CANCELLED_IN_UI, fix=again(job.job_id)))
        last_card(job)
        return
    error = InterruptionError(
        f"the process that drove job {job.job_id} is gone",
        cause="it was killed, or the machine was restarted",
        fix=again(job.job_id),
    )
    # A dying run's hook and the sweeper may both come here: who closes the books tells it.
    if close(job, Status.failed, error):
        alerts.ended(job, "failed")
    last_card(job)


def end_undriven(job: JobContext, status: Status) -> bool:
    """Bring a job to rest that no process drives (its flow died); False: it has a driver, or has
    ended meanwhile, and its end stands."""
    if not job.ledger.claim(job.job_id, driver_name()):
        return False
    try:
        deadline = time.monotonic() + SAVING_SECONDS
        while attempts.live_attempt(job) is not None and time.monotonic() < deadline:
            time.sleep(0.5)
        attempts.settle_open_attempts(job)
        took = job.ledger.end_job(job.job_id, status)
        accounts.settle(job)
    finally:
        job.ledger.release_claim(job.job_id, driver_name())
    if took:
        last_card(job)
    return took


def sweep(
    ledger: Ledger,
    state_of: StateOf,
    queue: Queue | None = None,
    driven: Callable[[JobRow], bool] = is_driven,
) -> list[str]:
    """Close every job that nobody drives any more and that does not go on; returns their ids.

    state_of: flow run id -> state type of that run (`run_states.state_of`). queue: where runs go
    that shall go on; None: jobs are only closed. driven: who sweeps again and again remembers more
    (`Silence`). A job that cannot be looked at (its storage or
    provider is away) waits for the next sweep, the others do not.
    """
    closed = []
    for row in ledger.jobs(None, moving=True):
        if not row.flow_run_id or driven(row):
            continue
        job = JobContext(ledger.settings, ledger, row.job_id)
        try:
            state = state_of(row.flow_run_id)
            if state in WAITING or reviving.is_starting(job, row, state):
                continue
            if queue is not None and reviving.is_orphan(row, state):
                seen = queue.look(row.flow_run_id)
                if seen.state != state or reviving.is_early(row, seen, job.clock.now()):
                    continue
                if reviving.goes_on(job, row, seen, queue):
                    continue
            if state in ENDED or abandoned(job) or left_alone(job, row, state):
                ended_without_word(job, state)
                closed.append(row.job_id)
        except Exception as error:
            if not (isinstance(error, BrightRunError) or is_outage(error)):
                raise
            log.warning("job %s is swept later: %s", row.job_id, told(error))
    return closed


Told = Callable[..., None]


def true_state(status: Status, state: str) -> str:
    """The state type that a run should show for its job's end; "" = the one it has is right.

    A run that is stopped together with `make ui` is "Crashed" to Prefect, though its job was
    cancelled and can be gone on with; one whose process was killed stays "Running" for ever; one
    whose server was away when it ended could not say that it completed.
    """
    if status == Status.failed:
        return "CRASHED" if state in UNFINISHED else ""
    shown = SHOWN.get(status, "")
    return shown if state in (*UNFINISHED, "CRASHED") else ""


def mend_states(
    ledger: Ledger, runs: Iterable[tuple[str, Seen]], tell: Told, grace: float = GRACE_SECONDS
) -> list[str]:
    """Set the Prefect state right of jobs that ended or were paused; returns their ids.

    runs: those that look wrong, by their ids. tell(run, state type, message, name=its name or None
    for the type's own). grace: seconds for a run that has just closed its books to say the rest
    itself.
    """
    mended, seen = [], dict(runs)
    rows = ledger.jobs(None, runs=seen) if seen else ()
    for row in rows:
        run, now = seen[row.flow_run_id], datetime.now(UTC)
        rested = row.finished_at or row.updated_at
        early = now - rested < timedelta(seconds=grace) or reviving.is_begun_again(run, rested, now)
        wanted = true_state(row.status, run.state)
        if wanted and not early and not is_driven(row):
            said = str((row.error or {}).get("message", f"job {row.job_id} is {row.status}"))
            more = f"; {again(row.job_id)}" if row.status in GOES_ON else ""
            tell(row.flow_run_id, wanted, said + more, name=NAMES.get(row.status))
            mended.append(row.job_id)
    return mended


def abandoned(job: JobContext) -> bool:
    """A pod was rented, its driver died, and the lease in which it may be adopted is over."""
    if all(attempt.ended_at is not None for attempt in job.ledger.attempts(job.job_id)):
        return False
    expires = job.lease_until
    return expires is None or datetime.now(UTC) > expires


def left_alone(job: JobContext, row: JobRow, state: str) -> bool:
    """Its driver died with its claim, no pod is to be adopted, and its run looks under way."""
    if row.claim is None or state not in UNFINISHED:
        return False
    return all(attempt.ended_at is not None for attempt in job.ledger.attempts(job.job_id))
