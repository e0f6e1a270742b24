"""Form that measures a finished adapter again: other scenarios, questions, prompts, models."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.deployments import run_deployment
from pydantic import Field

from brightrun.assessments import Wish, request_of
from brightrun.context import open_job
from flows.lifecycle_ids import new_job_id


class ReassessRequest(Wish):
    """Which job's adapter, and with what."""

    job: str = Field(
        title="Job",
        min_length=1,
        max_length=64,
        description="Job whose adapter is measured again: its id or the beginning, up to 64",
    )


@flow(name="reassess", flow_run_name="reassess {request.job}")
def reassess(request: ReassessRequest) -> dict[str, str]:
    """Measure a finished adapter again, in a job of its own: a pod only for what is not there yet.

    Args:
        request: Which job's adapter, and with what.
    """
    source = open_job(request.job)
    wish = request_of(source.request, source.job_id, request)
    job_id = new_job_id()
    parameters = {"request": wish.model_dump(mode="json"), "job_id": job_id}
    run: Any = run_deployment(
        "finetune/finetune", parameters=parameters, timeout=0, as_subflow=False
    )
    return {"job_id": job_id, "flow_run_id": str(run.id)}
