"""A job's money as it stands: its bill, and what it was estimated at. Reads the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from brightrun.bill import Bill, bill, pieces
from brightrun.context import JobContext
from brightrun.losses import Loss, losses
from brightrun.monthly import Monthly, beside
from brightrun.reckoning import Reckoning, reckon
from brightrun.starts import Start, starts


def bill_of(job: JobContext, now: datetime | None = None) -> Bill:
    """What the job has cost by now, by line, and beside it volume and storage."""
    moment = now or datetime.now(UTC)
    pods = job.ledger.attempts(job.job_id)
    events, row = job.ledger.events(job.job_id), job.ledger.job(job.job_id)
    until = row.finished_at if row.is_final and row.finished_at else moment
    monthly = beside(pods, events, until, Monthly.of(job.settings))
    return bill(pods, events, moment).model_copy(update={"beside": monthly})


def reckoning_of(job: JobContext, now: datetime | None = None) -> Reckoning | None:
    """Actual against estimate by part; None without an estimate or before a pod was rented."""
    facts = job.ledger.job(job.job_id).estimate or {}
    pods = job.ledger.attempts(job.job_id)
    if not pods or "parts" not in facts:
        return None
    return reckon(pieces(pods, job.ledger.events(job.job_id), now or datetime.now(UTC)), facts)


def settle(job: JobContext) -> None:
    """Keep an ended job's cost with the job, by line and by part against the estimate."""
    pods = job.ledger.attempts(job.job_id)
    if not pods or any(pod.ended_at is None for pod in pods):
        return
    found, before = reckoning_of(job), job.ledger.job(job.job_id).result or {}
    cost = {"bill": bill_of(job).as_json(), "against_estimate": found and found.as_json()}
    job.ledger.update_job(job.job_id, result={**before, "cost": cost})


def starts_of(job: JobContext) -> tuple[Start, ...]:
    """How long each pod took to its first step."""
    return starts(job.ledger.attempts(job.job_id), job.ledger.events(job.job_id))


def losses_of(job: JobContext) -> tuple[Loss, ...]:
    """What each interruption has cost so far."""
    pods, events = job.ledger.attempts(job.job_id), job.ledger.events(job.job_id)
    return losses(pods, events, datetime.now(UTC))
