"""The driver of one job as a process of its own: what the flow's task does, in virtual time.

It calls what `tasks.pod.train` calls (`finished`, `train_patiently`, again after what is worth
another pod) and closes the job's books as `flows.lifecycle.driving` does.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import faulty_storage  # registers faulty://
from chaos_world import FarClock
from fakes.runpod.server import KEY
from pydantic import SecretStr
from runpod_rentals import IMAGE, MANNERS

from brightrun import attempts, following
from brightrun.clock import Clock
from brightrun.compute.runpod.client import Client
from brightrun.compute.runpod.graphql import GraphQl
from brightrun.compute.runpod.pods import Place
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.context import JobContext, driver_name
from brightrun.errors import BrightRunError, SpotInterrupted
from brightrun.ledger import Ledger, Status
from brightrun.ledger_store import engine_of
from brightrun.patience import train_patiently
from brightrun.recovery import PAUSES_AFTER_LOSS
from brightrun.settings import Settings
from brightrun.stopping import DriverReplaced, JobCancelled, JobPaused
from brightrun.storagefaults import is_outage
from flows import sweeper
from tasks.pod import ENOUGH, finished

assert faulty_storage.ORDERS
JOB = "job-1"
# The flow looks every second; here every ten, which only makes it notice later.
LOOKS_EVERY_S = 10.0
CREATE_SECONDS = 1.0


def settings_of(home: Path) -> Settings:
    storage = "faulty://" + str(home / "storage")
    return Settings(home=home, storage_url=storage, pod_storage_url=storage)  # type: ignore[call-arg]


def rents(url: str, clock: Clock, seed: int) -> RunPodProvider:
    """Our provider at the fake; a create that is not answered in a second counts as lost."""

    def client(base: str) -> Client:
        chance = random.Random(seed)
        return Client(
            base, SecretStr(KEY), clock=clock, jitter=chance, create_seconds=CREATE_SECONDS
        )

    graphql = GraphQl(client(f"{url}/graphql"))
    return RunPodProvider(client(url), graphql, Place(image=IMAGE), MANNERS, clock)


def job_at(home: Path, url: str, clock: Clock, seed: int) -> JobContext:
    settings = settings_of(home)
    job = JobContext(settings, Ledger(engine_of(settings), settings), JOB)
    vars(job).update(provider=rents(url, clock, seed), clock=clock)
    return job


def start(home: Path, url: str, passed: float, seed: int) -> tuple[int, socket.socket]:
    """Process id and line of a driver that has begun."""
    here, there = socket.socketpair()
    pid = os.fork()
    if pid:
        there.close()
        return pid, here
    here.close()
    clock = FarClock(there, passed)
    try:
        with (home / "driver.log").open("a") as log:
            sys.stderr = log
            os.dup2(log.fileno(), 2)
            clock.say({"end": drive(job_at(home, url, clock, seed))})
    finally:
        os._exit(0)


def drive(job: JobContext) -> dict[str, Any]:
    """How it ended, with its books closed."""
    following.POLL_SECONDS = LOOKS_EVERY_S
    row = job.ledger.job(JOB)
    if not job.ledger.claim(JOB, driver_name(), stale_seconds=120):
        return {"status": "refused", "message": "another driver is alive"}
    if row.status in (Status.failed, Status.cancelled, Status.paused):
        try:
            attempts.start_afresh(job)
        except Exception as error:
            if not is_outage(error):
                raise
            job.ledger.release_claim(JOB, driver_name())
            return {"status": "refused", "code": "storage", "message": "the storage is away"}
        job.ledger.update_job(JOB, status=Status.created, finished_at=None, error=None)
    try:
        done = train(job)
    except DriverReplaced as error:
        return {"status": "replaced", "message": error.message}
    except JobPaused as error:
        job.ledger.update_job(JOB, status=Status.paused)
        return told("paused", error)
    except JobCancelled as error:
        sweeper.close(job, Status.cancelled, error)
        return told("cancelled", error)
    except BrightRunError as error:
        sweeper.close(job, Status.failed, error)
        return told("failed", error)
    except Exception as error:  # noqa: BLE001 a violation, told with its place
        traceback.print_exc()
        with suppress(Exception):
            sweeper.close(job, Status.failed, BrightRunError(repr(error)))
        return {"status": "unforeseen", "message": traceback.format_exc()[-1500:]}
    finally:
        job.ledger.release_claim(JOB, driver_name())
    job.ledger.update_job(JOB, status=Status.completed, adapter_sha256=done["adapter_sha256"])
    return {"status": "completed", **done}


def told(status: str, error: BrightRunError) -> dict[str, Any]:
    return {"status": status, "code": error.code, "message": error.message}


def train(job: JobContext) -> dict[str, Any]:
    """The task with its retries."""
    for tries in range(ENOUGH + 1):
        done = job.waited_out(lambda: finished(job))
        if done is not None:
            return done
        job.ledger.update_job(JOB, status=Status.running, stage="train")
        try:
            return train_patiently(job, lambda attempt: None)
        except SpotInterrupted:
            if tries == ENOUGH:
                raise
        job.clock.sleep(PAUSES_AFTER_LOSS[min(tries, len(PAUSES_AFTER_LOSS) - 1)])
    raise AssertionError("unreachable")
