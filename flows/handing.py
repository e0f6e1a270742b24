"""A new job handed to the deployment `finetune`, whose run drives it from then on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from brightrun.context import open_job
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.outages import told


def hand_over(ledger: Ledger, request: JobRequest, job_id: str) -> UUID:
    """The run of a job, new or ended, that the ledger knows.

    Without an answer the run may exist all the same: a new job is cancelled then, and a run that
    starts later spends nothing.
    """
    new = ledger.job(job_id).status == Status.created
    wish = {"request": request.model_dump(mode="json"), "job_id": job_id}
    try:
        run: Any = run_deployment("finetune/finetune", parameters=wish, timeout=0, as_subflow=False)
    except Exception as error:
        none = isinstance(error, ObjectNotFound)  # no such deployment, so no run
        if new:
            status = Status.failed if none else Status.cancelled
            ledger.end_job(job_id, status, told(error).as_dict())
            if not none:
                open_job(job_id).folder.request_stop("cancel", "no answer to its submission")
        raise
    if new:  # an ended job that goes on gets its new run when that begins
        ledger.update_job(job_id, flow_run_id=str(run.id))
    return UUID(str(run.id))
