"""Past jobs estimated again, each from the ones before it alone. Pure.

for job in replayed(jobs): job.actual, job.estimate, how far off it was (`miss`)
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from brightrun.learning import LAST, WHOLE, Whole, fit, whole

Key = tuple[str, str, str]  # machine, model, precision


class Part(NamedTuple):
    """units: see `durations.units` (1 for a part of fixed length); guess: by physics, or None."""

    name: str
    units: float
    seconds: float
    guess: float | None = None


class Past(NamedTuple):
    """A finished job, with the parts that were observed."""

    job_id: str
    key: Key
    parts: tuple[Part, ...]


class Replayed(NamedTuple):
    """A job beside what was known before it; estimate None: a part of it had no history by then.

    guess: seconds by physics, None where one part's is not known.
    """

    job: Past
    actual: float
    estimate: Whole | None
    guess: float | None

    @property
    def miss(self) -> float | None:
        """See `learning.Whole.miss`."""
        return None if self.estimate is None else self.estimate.miss(self.actual)


def replayed(jobs: Iterable[Past]) -> Iterator[Replayed]:
    """jobs: oldest first; those that took no time are left out."""
    seen: dict[tuple[Key, str], deque[tuple[float, float]]]
    seen = defaultdict(lambda: deque(maxlen=LAST))
    misses: dict[Key, deque[float]] = defaultdict(lambda: deque(maxlen=WHOLE))
    for job in jobs:
        actual = sum(part.seconds for part in job.parts)
        if actual <= 0:
            continue
        guesses = [part.guess for part in job.parts if part.guess is not None]
        found = [fit(tuple(seen[job.key, part.name]), part.units) for part in job.parts]
        fits = [fit for fit in found if fit is not None]
        told = Replayed(
            job,
            actual,
            whole(fits, misses[job.key]) if len(fits) == len(job.parts) else None,
            sum(guesses) if len(guesses) == len(job.parts) else None,
        )
        yield told
        if told.miss is not None:
            misses[job.key].append(told.miss)
        for part in job.parts:
            seen[job.key, part.name].appendleft((part.units, part.seconds))


def last_misses(jobs: Iterable[Past]) -> tuple[float, ...]:
    """`miss` of the newest jobs of one kind that could be estimated."""
    found = (job.miss for job in replayed(jobs))
    return tuple(deque((miss for miss in found if miss is not None), maxlen=WHOLE))
