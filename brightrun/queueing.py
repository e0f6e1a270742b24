"""The queue for a limited number of GPUs: who is next, and when about. Pure.

First the job that has lost its pod (its work is half done), then the higher priority, then the one
that waits longest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from datetime import datetime

from brightrun.frozen import Frozen


class Waiting(Frozen):
    """A job without a GPU. seconds: what it will take once it has one; begun: it had one."""

    job_id: str
    since: datetime
    seconds: float
    priority: int = 0
    begun: bool = False


class Place(Frozen):
    """position 1 is next; starts_in_s: expected, 0 = now."""

    job_id: str
    position: int
    of: int
    starts_in_s: float


def places(waiting: Iterable[Waiting], running_s: Sequence[float], quota: int) -> tuple[Place, ...]:
    """Everybody's place, the next one first.

    running_s: seconds that each running job still takes. Each waiting job gets the GPU that is
    free first, in the order of the queue.
    """
    line = sorted(waiting, key=lambda w: (not w.begun, -w.priority, w.since, w.job_id))
    free_at = [0.0] * max(0, quota - len(running_s)) + sorted(running_s)
    # More may run than the quota now allows: the first ones to end free no place.
    free_at = free_at[max(0, len(free_at) - max(1, quota)) :]
    heapq.heapify(free_at)
    found = []
    for position, job in enumerate(line, 1):
        starts = heapq.heappop(free_at)
        heapq.heappush(free_at, starts + job.seconds)
        found.append(Place(job_id=job.job_id, position=position, of=len(line), starts_in_s=starts))
    return tuple(found)
