"""What of ended jobs may be removed by now. Pure.

    found = removable(job, parts, policy, now) -> (Removal(what, bytes, why), ...)

Never of a job that runs, waits or is paused, nor of an adapter in testing or production; what cost
money and was concluded stays in the ledger for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import Field

from brightrun.frozen import Frozen

IN_USE = ("testing", "production")
ENDED = ("completed", "failed", "cancelled", "rejected")
WHOLE = ""
GB = 10**9


class Policy(Frozen):
    """Days after a job's end. A completed job needs its checkpoints no more, its adapter stays."""

    completed_checkpoints: int = Field(7, ge=0)
    other_checkpoints: int = Field(30, ge=0)
    run_folders: int = Field(365, ge=0)


class Ended(Frozen):
    """stage: of its adapter, "" when it has none; shared: a link to it is still open."""

    job_id: str
    status: str
    finished_at: datetime | None
    stage: str = ""
    shared: bool = False


class Removal(Frozen):
    """what: a folder inside of the run folder, "" = all of it."""

    job_id: str
    what: str
    bytes: int
    why: str


def removable(
    job: Ended, parts: Mapping[str, int], policy: Policy, now: datetime
) -> tuple[Removal, ...]:
    """parts: bytes of the run folder's checkpoints ("checkpoints") and of all of it ("")."""
    if job.status not in ENDED or job.finished_at is None or job.shared:
        return ()
    age, whole = now - job.finished_at, parts.get(WHOLE, 0)
    if whole and job.stage not in IN_USE and age > timedelta(days=policy.run_folders):
        why = f"{job.status} {age.days} days ago, run folders are kept for {policy.run_folders}"
        return (Removal(job_id=job.job_id, what=WHOLE, bytes=whole, why=why),)
    done = job.status == "completed"
    days = policy.completed_checkpoints if done else policy.other_checkpoints
    size = parts.get("checkpoints", 0)
    if not size or age <= timedelta(days=days):
        return ()
    why = f"{job.status} {age.days} days ago, its checkpoints are kept for {days}"
    return (Removal(job_id=job.job_id, what="checkpoints", bytes=size, why=why),)
