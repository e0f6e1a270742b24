"""Rent a pod, follow it to its end; a lost one raises SpotInterrupted and is retried."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State, TaskRun

from brightrun import attempts
from brightrun.context import JobContext, open_job
from brightrun.errors import SpotInterrupted
from brightrun.progress import Progress
from brightrun.runfolder import DONE
from reports import jobcards
from tasks import artifacts

REWRITE_SECONDS = 60.0


def only_spot(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Only a lost pod is worth another one; a fault of the trainer would cost it twice."""
    try:
        state.result()
    except SpotInterrupted:
        return True
    except BaseException:  # noqa: BLE001 - whatever else it is, it is not retried
        return False
    return False


@task(
    name="train and measure",
    retries=20,
    retry_delay_seconds=[1, 5, 30],
    retry_condition_fn=only_spot,
)
def train(job_id: str) -> str:
    """Returns the adapter's sha256. Finished work is not repeated."""
    job = open_job(job_id)
    done = finished(job)
    if done is None:
        job.ledger.update_job(job_id, status="running", stage="train")
        limit = job.folder.read_json("estimate.json")["hard_limit_usd"]
        board = Board(job)
        done = attempts.train_once(job, Decimal(str(limit)), board.tick)
        board.rewrite()
    job.ledger.update_job(job_id, adapter_sha256=done["adapter_sha256"])
    return str(done["adapter_sha256"])


def finished(job: JobContext) -> dict[str, Any] | None:
    """The content of `_DONE` when a pod already brought the job to its end."""
    for number in reversed(job.folder.attempts()):
        marker = job.folder.marker(number)
        if marker is not None and marker[0] == DONE:
            attempts.settle_open_attempts(job)
            return marker[1]
    return None


class Board:
    """The two cards of a running pod, rewritten every minute."""

    def __init__(self, job: JobContext) -> None:
        self.job = job
        state = job.progress()
        self.progress = artifacts.publish(
            "progress", self.progress_card(state), "Stages, step, loss and cost so far"
        )
        self.curve = artifacts.publish("loss-curve", jobcards.loss_card(state), "Loss by step")
        self.written = time.monotonic()

    def tick(self, attempt: int) -> None:
        if time.monotonic() - self.written >= REWRITE_SECONDS:
            self.rewrite()

    def rewrite(self) -> None:
        state = self.job.progress()
        artifacts.rewrite(self.progress, self.progress_card(state))
        artifacts.rewrite(self.curve, jobcards.loss_card(state))
        self.written = time.monotonic()

    def progress_card(self, state: Progress) -> str:
        cost = self.job.ledger.cost_so_far(self.job.job_id, datetime.now(UTC))
        return jobcards.progress_card(state, float(cost))
