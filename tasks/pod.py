"""Rent a pod, follow it to its end; a lost one raises SpotInterrupted and is retried."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from brightrun import attempts
from brightrun.context import JobContext, open_job
from brightrun.errors import SpotInterrupted
from brightrun.patience import train_patiently
from brightrun.recovery import PAUSES_AFTER_LOSS
from brightrun.runfolder import DONE
from tasks import turns
from tasks.board import watched

# Recovery's policy counts the pods (BRIGHTRUN_MAX_ATTEMPTS) and has to have the last word.
ENOUGH = 1000


def worth_another(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Only a lost pod is worth another one; a fault of the trainer would cost it twice."""
    return isinstance(state.result(raise_on_failure=False), SpotInterrupted)


@task(
    name="train and measure",
    cache_policy=NO_CACHE,
    retries=ENOUGH,
    retry_delay_seconds=list(PAUSES_AFTER_LOSS),
    retry_condition_fn=worth_another,
)
def train(job_id: str) -> str:
    """Returns the adapter's sha256. Finished work is not repeated."""
    job = open_job(job_id)
    done = job.waited_out(lambda: finished(job))
    if done is None:
        with turns.turn(job), watched(job) as board:
            done = train_patiently(job, board.tick)
    made = str(done["adapter_sha256"])
    job.waited_out(lambda: job.ledger.update_job(job_id, adapter_sha256=made))
    return made


def finished(job: JobContext) -> dict[str, Any] | None:
    """The content of `_DONE` when a pod already brought the job to its end."""
    for number in reversed(job.folder.attempts()):
        marker = job.folder.marker(number)
        if marker is not None and marker[0] == DONE:
            attempts.settle_open_attempts(job)
            return marker[1]
    return None
