"""Jobs that wait for one of a limited number of GPUs: their places, and how a person moves one."""

from __future__ import annotations

from brightrun.context import JobContext
from brightrun.errors import ConfigurationError
from brightrun.ledger import JobRow, Ledger, Status
from brightrun.losses import span
from brightrun.queueing import Place, Waiting, places

PRIORITY = "control/priority.json"


def queue(ledger: Ledger) -> tuple[Place, ...]:
    """The places of all jobs that wait, the next one first."""
    rows = ledger.jobs(None, status=Status.queued)
    if not rows:
        return ()
    running = {attempt.job_id for attempt in ledger.open_attempts()}
    left = [JobContext(ledger.settings, ledger, job).progress().remaining_s for job in running]
    return places([waiting(ledger, row) for row in rows], left, ledger.settings.gpu_quota)


def waiting(ledger: Ledger, row: JobRow) -> Waiting:
    job = JobContext(ledger.settings, ledger, row.job_id)
    return Waiting(
        job_id=row.job_id,
        since=row.created_at,
        seconds=job.progress().remaining_s,
        priority=priority(job),
        begun=bool(ledger.attempts(row.job_id)),
    )


def priority(job: JobContext) -> int:
    """0 unless somebody has changed it."""
    return int(job.folder.read_json(PRIORITY)["priority"]) if job.folder.exists(PRIORITY) else 0


def prioritize(job: JobContext, number: int, by: str) -> None:
    """Higher goes first. ConfigurationError: the job has ended."""
    row = job.ledger.job(job.job_id)
    if row.is_final:
        raise ConfigurationError(f"job {job.job_id} is already {row.status}")
    job.folder.write_json(PRIORITY, {"priority": number, "by": by})


def place_of(job: JobContext) -> Place | None:
    """None: it does not wait."""
    return next((p for p in queue(job.ledger) if p.job_id == job.job_id), None)


def sentence(place: Place) -> str:
    """ "GPU queue: 2 of 3, in about 14 min"."""
    soon = "soon" if place.starts_in_s < 1 else f"in about {span(place.starts_in_s)}"
    return f"GPU queue: {place.position} of {place.of}, {soon}"
