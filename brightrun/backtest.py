"""How good estimates would have been: each finished job from the ones before it alone. Pure.

found = backtest(jobs) -> Backtest: median and 90th percentile of the error, with and without
what had been learned by then, and how many actuals lay between low and high (80 % wanted)
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from brightrun.frozen import Frozen
from brightrun.learning import LAST, fit

MEDIAN_TARGET = 0.05
P90_TARGET = 0.15


class Part(NamedTuple):
    """units: see `durations.units` (1 for a part of fixed length); guess: by physics, or None."""

    name: str
    units: float
    seconds: float
    guess: float | None = None


class Past(NamedTuple):
    """A finished job, with the parts that were observed. key: machine, model, precision."""

    job_id: str
    key: tuple[str, str, str]
    parts: tuple[Part, ...]


class Errors(Frozen):
    """Of the seconds of all observed parts together: |estimate / actual - 1|."""

    n: int
    median: float | None
    p90: float | None


class Backtest(Frozen):
    with_history: Errors
    physics_of_the_same: Errors  # the guess for exactly those jobs, where it is known
    physics: Errors
    inside: float | None  # share of actuals between low and high, of with_history
    met: bool | None


def backtest(jobs: Iterable[Past]) -> Backtest:
    """jobs: oldest first. A job counts as learned when each of its parts had history by then."""
    seen: dict[tuple[tuple[str, str, str], str], deque[tuple[float, float]]]
    seen = defaultdict(lambda: deque(maxlen=LAST))
    learned, guessed, same, inside = [], [], [], []
    for job in jobs:
        actual = sum(part.seconds for part in job.parts)
        if actual <= 0:
            continue
        guesses = [part.guess for part in job.parts]
        guess = None if None in guesses else sum(g for g in guesses if g is not None)
        if guess is not None:
            guessed.append(abs(guess / actual - 1))
        found = [fit(tuple(seen[job.key, p.name]), p.units) for p in job.parts]
        if all(fit is not None for fit in found):
            low, likely, high = (sum(f[i] for f in found if f is not None) for i in range(3))
            learned.append(abs(likely / actual - 1))
            inside.append(low <= actual <= high)
            if guess is not None:
                same.append(abs(guess / actual - 1))
        for part in job.parts:
            seen[job.key, part.name].appendleft((part.units, part.seconds))
    errors = errors_of(learned)
    met = None
    if errors.median is not None and errors.p90 is not None:
        met = errors.median <= MEDIAN_TARGET and errors.p90 <= P90_TARGET
    return Backtest(
        with_history=errors,
        physics_of_the_same=errors_of(same),
        physics=errors_of(guessed),
        inside=sum(inside) / len(inside) if inside else None,
        met=met,
    )


def errors_of(found: Sequence[float]) -> Errors:
    """Median and 90th percentile (nearest rank)."""
    if not found:
        return Errors(n=0, median=None, p90=None)
    ordered = sorted(found)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return Errors(n=len(ordered), median=middle, p90=ordered[-(-9 * len(ordered) // 10) - 1])
