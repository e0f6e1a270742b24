"""A provider that does not answer, or a pod that cannot be ended, is asked again for a day.

Each try takes ten minutes by itself. Nothing is rented meanwhile: two pods would do one job's work.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from brightrun.attempts import conclude, train_once
from brightrun.context import JobContext
from brightrun.deciding import decide
from brightrun.errors import ProviderError
from brightrun.following import Tick
from brightrun.recovery import PAUSES_AFTER_LOSS, Policy

# A job that was driven for so long before had got over its last trouble.
WELL = timedelta(hours=1)
# As long as a free machine is waited for.
LONGEST = timedelta(hours=Policy().capacity_hours)


def train_patiently(job: JobContext, on_tick: Tick) -> dict[str, Any]:
    """`attempts.train_once`; a ProviderError is raised when it has stood for a day.

    JobCancelled, JobPaused: a person does not want to wait; the reaper goes on ending the pod.
    """
    since, pods = job.clock.now(), -1
    while True:
        began = job.clock.now()
        try:
            return train_once(job, on_tick)
        except ProviderError as error:
            now, rented = job.clock.now(), pods_of(job)
            if rented != pods or now - began > WELL:  # another pod, or a good hour: new trouble
                since, pods = now, rented
                said = f"asked again for up to {LONGEST.total_seconds() / 3600:.0f} hours"
                job.note("warning", {"code": error.code, "message": f"{error.message}; {said}"})
            if now - since >= LONGEST:
                raise
            action = job.waited_out(lambda: decide(job))
            if action.do in ("cancelled", "paused"):
                conclude(job, action)
            job.clock.sleep(PAUSES_AFTER_LOSS[-1])


def pods_of(job: JobContext) -> int:
    return job.waited_out(lambda: len(job.ledger.attempts(job.job_id)))
