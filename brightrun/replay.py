"""Past jobs estimated again, each from the ones before it alone. Pure.

for job in replayed(jobs): job.actual, job.estimate, how far off it was (`miss`)
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from brightrun.learning import LAST, WHOLE, Whole, fit, whole
from brightrun.prices import CPU

Key = tuple[str, str, str]  # machine, model, precision
Clock = Literal["cpu", "wall"]
WALL: Clock = "wall"
BOOT = "boot"
TRAINING = "training"


class Part(NamedTuple):
    """units: see `durations.units` (1 for a part of fixed length); guess: by physics, or None;
    cpu_seconds: those of the processors, None where nobody counted them."""

    name: str
    units: float
    seconds: float
    guess: float | None = None
    cpu_seconds: float | None = None


class Past(NamedTuple):
    """A finished job, with the parts that were observed."""

    job_id: str
    key: Key
    parts: tuple[Part, ...]

    @property
    def clock(self) -> Clock:
        """On a CPU, which others use too, that of the processors if every stage was counted."""
        counted = [bool(part.cpu_seconds) for part in self.parts if part.name != BOOT]
        return "cpu" if self.key[0].startswith(CPU) and counted and all(counted) else "wall"

    def sizes(self, clock: Clock) -> list[tuple[str, float, float]]:
        """(part, units, seconds) by a clock; nobody counts what starting a pod takes."""
        if clock == "wall":
            return [(part.name, part.units, part.seconds) for part in self.parts]
        return [(p.name, p.units, p.cpu_seconds) for p in self.parts if p.cpu_seconds]

    @property
    def trained(self) -> bool:
        """A smoke test is none: how far off its start was says nothing of a whole job's range."""
        return any(part.name == TRAINING for part in self.parts)

    @property
    def guess(self) -> float | None:
        """Wall-clock seconds by physics, None where one part's are not known."""
        known = [part.guess for part in self.parts if part.guess is not None]
        return sum(known) if len(known) == len(self.parts) else None


class Replayed(NamedTuple):
    """A job beside what was known before it; estimate None: it was no training, or
    a part of it had no history by then.

    actual: seconds by its clock; wall: by the wall's.
    """

    job: Past
    clock: Clock
    wall: float
    actual: float
    estimate: Whole | None

    @property
    def miss(self) -> float | None:
        """See `learning.Whole.miss`."""
        return None if self.estimate is None else self.estimate.miss(self.actual)


def replayed(jobs: Iterable[Past]) -> Iterator[Replayed]:
    """jobs: oldest first; those that took no time are left out. Each clock has its own history."""
    seen: dict[tuple[Key, Clock, str], deque[tuple[float, float]]]
    seen = defaultdict(lambda: deque(maxlen=LAST))
    misses: dict[tuple[Key, Clock], deque[float]] = defaultdict(lambda: deque(maxlen=WHOLE))
    for job in jobs:
        wall = sum(part.seconds for part in job.parts)
        if wall <= 0:
            continue
        clock = job.clock
        sizes = job.sizes(clock)
        found = [fit(tuple(seen[job.key, clock, part]), units) for part, units, _ in sizes]
        fits = [fit for fit in found if fit is not None]
        told = job.trained and len(fits) == len(sizes)
        estimate = whole(fits, misses[job.key, clock]) if told else None
        again = Replayed(job, clock, wall, sum(seconds for *_, seconds in sizes), estimate)
        yield again
        if again.miss is not None:
            misses[job.key, clock].append(again.miss)
        for kept in {clock, WALL}:
            for part, units, seconds in job.sizes(kept):
                seen[job.key, kept, part].appendleft((units, seconds))


def last_misses(jobs: Iterable[Past]) -> tuple[float, ...]:
    """`miss` of the newest jobs of one kind that could be estimated."""
    found = (job.miss for job in replayed(jobs))
    return tuple(deque((miss for miss in found if miss is not None), maxlen=WHOLE))
