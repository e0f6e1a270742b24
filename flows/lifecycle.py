"""A job's beginning and end around the flow: claim, failure, release, summary."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ExternalSignal, PrefectSignal
from prefect.runtime import flow_run as this_run

from brightrun import attempts
from brightrun.attempts import JobCancelled
from brightrun.context import JobContext, driver_name, open_job
from brightrun.errors import BrightRunError, ConfigurationError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load
from flows.lifecycle_ids import job_id_of
from flows.outcome import summary
from reports import jobcards
from tasks.gate import Approval
from tasks.people import notify

CLAIM_STALE_SECONDS = 120
__all__ = [
    "approval_form",
    "complete",
    "driving",
    "patience",
    "release_pods",
    "run_name",
    "summary",
]


def run_name() -> str:
    """The flow run's name in the UI: job id and file."""
    request = this_run.parameters["request"]
    wish = request if isinstance(request, dict) else request.model_dump()
    label = wish.get("name") or str(wish["training_file"]).rsplit("/", 1)[-1]
    return f"{job_id_of(this_run.parameters.get('job_id') or '', this_run.id)} {label}"


@contextmanager
def driving(request: JobRequest, given: str) -> Iterator[str]:
    """Claim the job (create it when it is new) and make sure that its end is written down."""
    without_tracebacks()
    settings = load()
    ledger = Ledger.open(settings)
    job_id = job_id_of(given, str(this_run.id))
    if not exists(ledger, job_id):
        ledger.create_job(job_id, request)
    job = JobContext(settings, ledger, job_id)
    claim(job)
    try:
        yield job_id
    except PrefectSignal:
        raise  # suspended at the gate: not an end
    except (ExternalSignal, KeyboardInterrupt):
        close(job, Status.cancelled, JobCancelled("stopped by a person", fix=again(job_id)))
        raise
    except JobCancelled as error:
        close(job, Status.cancelled, error)
        raise
    except BrightRunError as error:
        close(job, Status.failed, error)
        notify(job_id, "failed")
        raise
    except Exception as error:
        close(job, Status.failed, BrightRunError(f"{type(error).__name__}: {error}"))
        notify(job_id, "failed")
        raise
    finally:
        ledger.release_claim(job_id, driver_name())


def claim(job: JobContext) -> None:
    """One driver per job; going on with an ended one is a fresh start for recovery."""
    row = job.ledger.job(job.job_id)
    if not job.ledger.claim(job.job_id, driver_name(), stale_seconds=CLAIM_STALE_SECONDS):
        raise ConfigurationError(
            f"job {job.job_id} is already driven by another process",
            fix=f"follow it with `brightrun watch {job.job_id}`",
        )
    if row.status in (Status.failed, Status.cancelled):
        attempts.start_afresh(job)
    job.ledger.update_job(
        job.job_id, flow_run_id=str(this_run.id), error=None, run_folder=job.folder.url
    )


def close(job: JobContext, status: Status, error: BrightRunError) -> None:
    now = datetime.now(UTC)
    job.ledger.update_job(job.job_id, status=status, error=error.as_dict(), finished_at=now)
    job.note("error", error.as_dict())


def complete(job_id: str) -> None:
    job = open_job(job_id)
    job.ledger.update_job(job_id, status=Status.completed, finished_at=datetime.now(UTC))


def approval_form(job_id: str) -> type[Approval]:
    """The gate's form with the estimate above it."""
    facts = open_job(job_id).folder.read_json("estimate.json")
    return Approval.with_initial_data(description=jobcards.estimate_card(facts))


def patience() -> int:
    """Seconds that a run waits at the gate."""
    return load().approval_timeout_hours * 3600


def again(job_id: str) -> str:
    return f"`brightrun train --resume {job_id}` goes on where it stopped"


def exists(ledger: Ledger, job_id: str) -> bool:
    return any(row.job_id == job_id for row in ledger.jobs(None))


def release_pods(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancelled or crashed: no pod of this job stays. Safe to repeat."""
    job_id = job_id_of(str(flow_run.parameters.get("job_id") or ""), str(flow_run.id))
    if not exists(Ledger.open(load()), job_id):
        return
    job = open_job(job_id)
    attempts.settle_open_attempts(job)
    if not job.ledger.job(job_id).is_final and state.name == "Cancelled":
        close(job, Status.cancelled, JobCancelled("cancelled in the UI", fix=again(job_id)))


class WithoutTraceback(logging.Filter):
    """What a person can cause is told in words; the words hold cause and fix."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, BrightRunError):
            record.msg, record.args, record.exc_info = str(error), (), None
        return True


def without_tracebacks() -> None:
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(f, WithoutTraceback) for f in logger.filters):
            logger.addFilter(WithoutTraceback())
