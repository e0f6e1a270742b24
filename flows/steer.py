"""Forms that steer a job from the Prefect UI: pause, cancel, switch its market, go on with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.deployments import run_deployment
from pydantic import Field

from brightrun import steering
from brightrun.context import open_job
from brightrun.errors import ConfigurationError
from brightrun.frozen import Frozen
from brightrun.jobs import Market
from brightrun.ledger import Status
from flows import sweeper, ui_runs
from tasks import leaving, story

JOB = "Which job is meant: its id as `brightrun jobs` and the run's name show it, or the beginning"
BY = "Who asks, for the record. Empty: the Prefect UI"
UI = "the Prefect UI"


class PauseRequest(Frozen):
    """Which job rests."""

    job: str = Field(title="Job", min_length=1, max_length=64, description=f"{JOB}, up to 64")
    by: str = Field("", title="Asked by", max_length=200, description=f"{BY}, up to 200 letters")


class CancelRequest(PauseRequest):
    """Which job ends."""


class SwitchRequest(PauseRequest):
    """Which job changes its market."""

    market: Market = Field(
        title="Market",
        description="Where its next pods are rented: spot is cheaper and is taken away now and "
        "then, on_demand stays",
    )


class ResumeRequest(Frozen):
    """Which job goes on."""

    job: str = Field(title="Job", min_length=1, max_length=64, description=f"{JOB}, up to 64")


@flow(name="pause", flow_run_name="pause {request.job}")
def pause(request: PauseRequest) -> dict[str, Any]:
    """Save a checkpoint and release the GPU; **resume** goes on later.

    Args:
        request: Which job rests.
    """
    job = open_job(request.job)
    steering.pause(job, request.by or UI)
    ended, run = sweeper.end_undriven(job, Status.paused), job.ledger.job(job.job_id).flow_run_id
    if ended and run:  # after it: a sweep between the two would take the run's end for a cancel
        ui_runs.end_waiting(run, f"paused by {request.by or UI}")
    return {"job_id": job.job_id, "status": str(job.ledger.job(job.job_id).status)}


@flow(name="cancel", flow_run_name="cancel {request.job}")
def cancel(request: CancelRequest) -> dict[str, Any]:
    """End a job: its pod saves a checkpoint and goes; **resume** can still go on later.

    Args:
        request: Which job ends.
    """
    job = open_job(request.job)
    steering.cancel(job, request.by or UI)
    if run := job.ledger.job(job.job_id).flow_run_id:
        ui_runs.end_waiting(run, f"cancelled by {request.by or UI}")
    sweeper.end_undriven(job, Status.cancelled)
    return leaving.tell(job.job_id)


@flow(name="switch", flow_run_name="switch {request.job} to {request.market}")
def switch(request: SwitchRequest) -> dict[str, Any]:
    """Go on with a job on another market: its pod saves a checkpoint, the next one is there.

    Args:
        request: Which job, and to which market.
    """
    job = open_job(request.job)
    facts = steering.compared(job, datetime.now(UTC))
    for line in steering.sentences(facts):
        story.tell(line)
    facts["switched"] = steering.switch(job, request.market, request.by or UI)
    story.tell(f"Job {job.job_id}: {facts['switched']}")
    return facts


@flow(name="resume", flow_run_name="resume {request.job}")
def resume(request: ResumeRequest) -> dict[str, str]:
    """Go on with a paused, failed or cancelled job where it stopped, in a run of its own.

    Args:
        request: Which job goes on.
    """
    job = open_job(request.job)
    row = job.ledger.job(job.job_id)
    if not row.at_rest or row.status in (Status.completed, Status.rejected):
        raise ConfigurationError(
            f"job {job.job_id} is {row.status}: there is nothing to go on with"
        )
    wish = {"request": row.request, "job_id": job.job_id}
    run: Any = run_deployment("finetune/finetune", parameters=wish, timeout=0, as_subflow=False)
    return {"job_id": job.job_id, "flow_run_id": str(run.id)}
