"""A pod's loss and the next pod's start from its checkpoint, as events of the job."""

from __future__ import annotations

from brightrun.context import JobContext
from brightrun.ledger import AttemptRow
from brightrun.losses import spoke


def tell_loss(job: JobContext, attempt: AttemptRow) -> None:
    """Once its books are closed; a pod that ended otherwise is no loss."""
    row = next(a for a in job.ledger.attempts(job.job_id) if a.number == attempt.number)
    if row.interrupted:
        said = f"pod {row.number} was lost after step {row.last_step or 0}: {row.outcome}"
        job.note("choice", {"message": said})


def tell_resume(job: JobContext, attempt: AttemptRow) -> None:
    """The pod that follows a lost one, and from which checkpoint it goes on."""
    before = spoke(a for a in job.ledger.attempts(job.job_id) if a.number < attempt.number)
    if not before or not before[-1].interrupted:
        return
    step = int(job.folder.read_json(f"attempts/{attempt.number}/launch.json")["resumes_from"])
    where = f"from the checkpoint of step {step}" if step else "from the beginning"
    said = f"pod {attempt.number} goes on after the loss of pod {before[-1].number}, {where}"
    job.note("choice", {"message": said})
