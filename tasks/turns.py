"""Wait for one of the GPUs that the quota allows; Prefect's global limit counts them.

Prefect gives a free place to whoever asks first, so only the job that is next in our queue asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

from brightrun import attempts, turns
from brightrun.context import JobContext, driver_name
from brightrun.deciding import decide
from brightrun.ledger import Status
from brightrun.queueing import Place
from tasks import story

LIMIT = "brightrun-gpus"
LOOK_SECONDS = 5.0
# No place, or a server that is away for a moment.
NOT_NOW = (TimeoutError, httpx.HTTPError)
# (quota, seconds to wait) -> the place, held inside; TimeoutError: none is free.
Slots = Callable[[int, float], AbstractContextManager[None]]


@contextmanager
def prefect_slots(quota: int, seconds: float) -> Iterator[None]:
    """One place of the global limit, which is made or changed to `quota` first."""
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, quota)
    with concurrency(
        LIMIT, timeout_seconds=seconds, strict=True, raise_on_lease_renewal_failure=False
    ):
        yield


@contextmanager
def turn(job: JobContext, slots: Slots = prefect_slots) -> Iterator[None]:
    """Inside, the job may have a GPU. Without a quota at once."""
    quota = job.settings.gpu_quota
    with ExitStack() as held:
        tried = job.waited_out(lambda: job.ledger.attempts(job.job_id))
        if quota and any(attempt.ended_at is None for attempt in tried):
            # Its pod runs already and is adopted, whether or not there is a free place.
            with suppress(*NOT_NOW):
                held.enter_context(slots(quota, 1.0))
        elif quota:
            wait(job, quota, slots, held)
        job.waited_out(
            lambda: job.ledger.update_job(job.job_id, status=Status.running, stage="train")
        )
        yield


def wait(job: JobContext, quota: int, slots: Slots, held: ExitStack) -> None:
    """Until the job is next and a place is free. JobCancelled, JobPaused when that is asked."""
    job.waited_out(lambda: job.ledger.update_job(job.job_id, status=Status.queued))
    told = ""
    while True:
        place = job.waited_out(lambda: look(job))
        if place is None or place.position == 1:
            with suppress(*NOT_NOW):
                held.enter_context(slots(quota, LOOK_SECONDS))
                return
        if place is not None and (said := turns.sentence(place)) != told:
            told = said
            job.waited_out(partial(job.ledger.update_job, job.job_id, stage=said))
            story.tell(said)
        job.clock.sleep(LOOK_SECONDS)


def look(job: JobContext) -> Place | None:
    """Its place now; others learn that it still waits."""
    action = decide(job)
    if action.do in ("cancelled", "paused"):
        attempts.conclude(job, action)
    job.ledger.renew_claim(job.job_id, driver_name())
    return turns.place_of(job)
