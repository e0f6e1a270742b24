"""What a job that stops has cost, and what stays of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from brightrun.context import JobContext
from brightrun.counting import count
from brightrun.money import shown


def kept(job: JobContext, now: datetime) -> str:
    """ "$1.2300 spent; kept: 3 checkpoints (newest: step 40)"."""
    spent = shown(job.ledger.cost_so_far(job.job_id, now))
    steps, parts = job.folder.checkpoints(), []
    if steps:
        parts.append(f"{count(len(steps), 'checkpoint')} (newest: step {steps[-1]})")
    if job.folder.exists("adapter/manifest.json"):
        parts.append("the trained adapter")
    if job.folder.names("measurements"):
        parts.append("the measurements so far")
    return f"{spent} spent; kept: {', '.join(parts) or 'the checked data and the estimate'}"


def facts(job: JobContext, now: datetime) -> dict[str, Any]:
    """{job_id, status, spent_usd, checkpoints, kept} of a job that was asked to stop."""
    return {
        "job_id": job.job_id,
        "status": str(job.ledger.job(job.job_id).status),
        "spent_usd": float(job.ledger.cost_so_far(job.job_id, now)),
        "checkpoints": job.folder.checkpoints(),
        "kept": kept(job, now),
    }
