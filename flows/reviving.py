"""Jobs whose driver died without a word go on in their own runs: the next free worker takes them.

A killed worker, a machine that is gone, a run's process that ran out of memory: the run is put
back into the queue, and the flow goes on where it stopped. One that loses driver after driver does
not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

from brightrun.clock import Clock
from brightrun.context import JobContext, driver_name
from brightrun.frozen import Frozen
from brightrun.ledger import JobRow, Ledger
from flows.lifecycle_ids import job_id_of

LOST = "driver_lost"
MOST = 5  # drivers of one job
# The worker of a killed run may still be telling its state.
GRACE = timedelta(seconds=60)
# Nobody is surprised by a job that somebody left behind days ago.
OLDEST = timedelta(hours=24)
# From the queue to a claim on the job: a process that starts and its imports.
STARTING = timedelta(minutes=10)

StateOf = Callable[[str], str]


class Seen(Frozen):
    """A run as its server shows it. own: a deployment's, and no part of another run."""

    state: str
    since: datetime
    own: bool


class Queue(Protocol):
    """A Prefect server's runs, by their ids (`run_states.ServersQueue`)."""

    def look(self, flow_run_id: str) -> Seen:
        """As it is now."""

    def revive(self, flow_run_id: str, message: str, judged: Seen) -> bool:
        """Put it back where workers look; False: it is not any more as it was when judged."""

    def revivals(self, flow_run_id: str) -> int:
        """How often it was put back."""


class UnderWay(Frozen):
    """A run of the job's flow that a worker has taken and, unless it crashed, not ended. job_id: as
    its form or command gave it."""

    flow_run_id: str
    seen: Seen
    job_id: str = ""


def is_orphan(row: JobRow, state: str) -> bool:
    """Whether a run looks under way, or has crashed, without a driver that could say how it ended.

    A driver that has gone in good order takes its claim with it.
    """
    return state == "CRASHED" or (state == "RUNNING" and row.claim is not None)


def is_early(row: JobRow, seen: Seen, now: datetime) -> bool:
    """Whether its driver gave a sign a moment ago, or another process starts: a run that began to
    run after the last sign is not that driver's."""
    if row.claim is None:
        return False
    other = seen.state == "RUNNING" and seen.since > row.claim.at
    return now - seen.since <= STARTING if other else now - row.claim.at <= GRACE


def is_begun_again(seen: Seen, rested: datetime, now: datetime) -> bool:
    """Whether a person has put the run of a job that had come to rest before back to work: its
    process starts."""
    return seen.state in ("PENDING", "RUNNING") and rested < seen.since >= now - STARTING


def is_starting(job: JobContext, row: JobRow, state: str) -> bool:
    """Whether a revived run's new process has not come to its claim yet."""
    if state != "RUNNING" or row.claim is not None:
        return False
    lost = losses(job.ledger, job.job_id)
    return bool(lost) and job.clock.now() - lost[-1] <= STARTING


def losses(ledger: Ledger, job_id: str) -> list[datetime]:
    """When the job lost drivers and was put back, oldest first."""
    told = ledger.events(job_id, 0, "warning")
    return [event.ts for event in told if event.payload.get("code") == LOST]


def goes_on(job: JobContext, row: JobRow, judged: Seen, queue: Queue) -> bool:
    """Put an orphan back into the queue; False: nothing goes on with it by itself.

    The job is claimed meanwhile, so that of several sweepers one does it.
    """
    run, me, now = row.flow_run_id or "", driver_name(), job.clock.now()
    number = len(losses(job.ledger, job.job_id)) + 1
    last_sign = row.updated_at if row.claim is None else row.claim.at
    if not judged.own or number > MOST or now - last_sign > OLDEST:
        return False
    seen_again = job.ledger.job(job.job_id).claim
    if seen_again != row.claim or not job.ledger.claim(job.job_id, me):
        return True  # another sweeper is at it
    said = (
        "The process that drove the job is gone; the next free worker goes on "
        f"(driver {number} of {MOST} that was lost)"
    )
    revived = False
    try:
        revived = queue.revive(run, said, judged)
        if revived:
            job.waited_out(lambda: job.note("warning", {"code": LOST, "message": said}))
    finally:
        # Else the next sweep would not know that it had a driver. While a living sweeper holds the
        # claim no driver can have it.
        left = None if revived else row.claim
        job.waited_out(lambda: job.ledger.release_claim(job.job_id, me, left))
    return True


def restart_unbegun(
    ledger: Ledger, runs: Iterable[UnderWay], clock: Clock, queue: Queue
) -> list[str]:
    """Runs that a worker took and whose flow never came to claim its job: back into the queue.

    One that crashed has no job that a sweep could go on with: within a day, and not for ever.
    """
    now, revived = clock.now(), []
    before = now - STARTING
    late = [run for run in runs if run.seen.own and run.seen.since < before]
    for run in late:
        job_id = job_id_of(run.job_id, run.flow_run_id)
        row = ledger.job(job_id) if ledger.has_job(job_id) else None
        # Also a job that was driven and whose next process never came to its claim.
        unclaimed = row is None or (row.claim is None and not row.at_rest)
        if run.seen.state == "CRASHED":
            old = now - run.seen.since > OLDEST
            if row is not None or old or queue.revivals(run.flow_run_id) >= MOST:
                continue
        begun = run.seen.state != "PENDING" and not unclaimed
        said = "Its worker did not start it; the next free one does"
        if not begun and queue.revive(run.flow_run_id, said, run.seen):
            revived.append(run.flow_run_id)
    return revived
