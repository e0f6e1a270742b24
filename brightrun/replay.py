"""Past jobs estimated again, each from the ones before it alone. Pure.

for job in replayed(jobs): job.actual, job.estimate, how far off it was (`miss`)
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from brightrun.learning import LAST, WHOLE, Fit, Whole, fit, whole
from brightrun.prices import CPU

Key = tuple[str, str, str]  # machine, model, precision
Clock = Literal["cpu", "wall"]
BOOT = "boot"
TRAINING = "training"
BUSY_CPU = 2.5


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

    def sizes(self, clock: Clock) -> list[tuple[str, float, float]]:
        """(part, units, seconds) by a clock. Of the processors' only on a CPU, which others use
        too, and if every stage was counted; nobody counts what starting a pod takes."""
        if clock == "wall":
            return [(part.name, part.units, part.seconds) for part in self.parts]
        counted = [p for p in self.parts if p.name != BOOT]
        if not self.on_cpu or not all(p.cpu_seconds for p in counted):
            return []
        return [(p.name, p.units, p.cpu_seconds or 0.0) for p in counted]

    @property
    def on_cpu(self) -> bool:
        """On a machine of ours, where other programs run, too."""
        return self.key[0].startswith(CPU)

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
    a part of it had no history by then. actual: seconds."""

    job: Past
    actual: float
    estimate: Whole | None

    @property
    def miss(self) -> float | None:
        """See `learning.Whole.miss`."""
        return None if self.estimate is None else self.estimate.miss(self.actual)


def replayed(jobs: Iterable[Past], clock: Clock = "wall") -> Iterator[Replayed]:
    """jobs: oldest first; those that took no time by that clock are left out."""
    seen: dict[tuple[Key, str], deque[tuple[float, float]]]
    seen = defaultdict(lambda: deque(maxlen=LAST))
    misses: dict[Key, deque[float]] = defaultdict(lambda: deque(maxlen=WHOLE))
    for job in jobs:
        sizes = job.sizes(clock)
        actual = sum(seconds for *_, seconds in sizes)
        if actual <= 0:
            continue
        found = [fit(tuple(seen[job.key, part]), units) for part, units, _ in sizes]
        fits = [fit for fit in found if fit is not None]
        told = job.trained and len(fits) == len(sizes)
        again = Replayed(job, actual, whole(fits, misses[job.key]) if told else None)
        yield again
        if again.miss is not None:
            misses[job.key].append(again.miss)
        for part, units, seconds in sizes:
            seen[job.key, part].appendleft((units, seconds))


def last_misses(jobs: Iterable[Past]) -> tuple[float, ...]:
    """`miss` of the newest jobs of one kind that could be estimated."""
    found = (job.miss for job in replayed(jobs))
    return tuple(deque((miss for miss in found if miss is not None), maxlen=WHOLE))


def high_as_told(found: Fit | Whole, key: Key) -> float:
    """On a CPU at least 2.5 x likely, because another job may share the cores, until past jobs say
    how often one does."""
    return found.high if found.settled else max(found.high, busy(found, key))


def busy(found: Fit | Whole, key: Key) -> float:
    """What another job on a CPU's cores may make of it: no hard limit stops a healthy run there."""
    return BUSY_CPU * found.likely if key[0].startswith(CPU) else 0.0
