"""The form that tries an ended job again, as a new one with its own gate."""

from __future__ import annotations

from typing import Any

from prefect import flow
from pydantic import Field

from brightrun import retrying
from brightrun.context import open_job
from brightrun.frozen import Frozen
from brightrun.jobs import Overrides
from flows.handing import hand_over
from flows.lifecycle_ids import new_job_id
from tasks import story


class RetryRequest(Frozen):
    """Which job is tried again, and what is different."""

    job: str = Field(
        title="Job",
        min_length=1,
        max_length=64,
        description="Which ended job is meant: its id or the beginning of it, up to 64",
    )
    accept_suggestions: bool = Field(
        True,
        title="Accept suggestions",
        description="On = take what the error suggests. Off = the same values again",
    )
    overrides: Overrides = Field(
        default_factory=Overrides,
        title="Other values",
        description="What else shall differ; empty fields stay as they were",
    )
    requested_by: str = Field(
        "",
        title="Requested by",
        max_length=120,
        description="Your name; it is recorded as stated, up to 120 letters",
    )


@flow(name="retry", flow_run_name="retry {request.job}")
def retry(request: RetryRequest) -> dict[str, Any]:
    """Start a new job from an ended one; its gate shows what differs.

    Args:
        request: Which job is tried again.
    """
    known = open_job(request.job)
    found = retrying.of_job(
        known.ledger.job(known.job_id),
        request.overrides.model_dump(exclude_none=True),
        accept=request.accept_suggestions,
        requested_by=request.requested_by,
    )
    job_id = new_job_id()
    known.ledger.create_job(job_id, found.request, parent_job_id=known.job_id)
    for change in found.changes:
        story.tell(f"Differs from {known.job_id}: {change}")
    if found.by_pod:
        story.tell(f"As its error suggests: {found.by_pod}")
    run = hand_over(known.ledger, found.request, job_id)
    return {"job_id": job_id, "parent": known.job_id, "flow_run_id": str(run)}
