"""How good estimates would have been: each finished job from the ones before it alone. Pure.

found = backtest(jobs) -> Backtest: median and 90th percentile of the error, with and without
what had been learned by then, and how many actuals lay between low and high (80 % wanted)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brightrun.frozen import Frozen
from brightrun.replay import Past, high_as_told, replayed

MEDIAN_TARGET = 0.05
P90_TARGET = 0.15
INSIDE_TARGET = 0.8


class Errors(Frozen):
    """Of the seconds of all observed parts together: |estimate / actual - 1|."""

    n: int
    median: float | None
    p90: float | None

    @property
    def met(self) -> bool:
        """Whether both targets are kept; not by no jobs."""
        if self.median is None or self.p90 is None:
            return False
        return self.median <= MEDIAN_TARGET and self.p90 <= P90_TARGET


class Coverage(Frozen):
    """share of n actuals that lay between low and high."""

    n: int
    share: float | None


class Backtest(Frozen):
    """By the wall's clock, which is what money follows, but for in_cpu_seconds."""

    with_history: Errors
    rented: Errors  # of these, the jobs of rented machines
    in_cpu_seconds: Errors  # jobs on a CPU, by what they took of its processors
    physics_of_the_same: Errors  # the guess for exactly the jobs with history, where it is known
    physics: Errors
    inside: float | None  # share of actuals between low and high as told, of with_history
    settled: Coverage  # the same of jobs whose bounds come from whole jobs before them
    met: bool | None  # whether rented and in_cpu_seconds both keep the targets; None: no such job


def backtest(jobs: Iterable[Past]) -> Backtest:
    """jobs: oldest first. A job counts as learned when each of its parts had history by then.

    On a CPU the clock also tells what else ran, which no history knows: the targets are held
    against the processors' seconds there.
    """
    jobs = tuple(jobs)
    learned, rented, guessed, same, inside, settled = [], [], [], [], [], []
    for job in replayed(jobs):
        off = None if job.job.guess is None else abs(job.job.guess / job.actual - 1)
        if off is not None:
            guessed.append(off)
        if job.estimate is None:
            continue
        learned.append(abs(job.estimate.likely / job.actual - 1))
        if not job.job.on_cpu:
            rented.append(learned[-1])
        high = high_as_told(job.estimate, job.job.key)
        inside.append(job.estimate.low <= job.actual <= high)
        if job.estimate.settled:
            settled.append(inside[-1])
        if off is not None:
            same.append(off)
    here = [
        abs(job.estimate.likely / job.actual - 1)
        for job in replayed(jobs, "cpu")
        if job.estimate is not None
    ]
    judged = [errors.met for errors in (errors_of(rented), errors_of(here)) if errors.n]
    return Backtest(
        with_history=errors_of(learned),
        rented=errors_of(rented),
        in_cpu_seconds=errors_of(here),
        physics_of_the_same=errors_of(same),
        physics=errors_of(guessed),
        inside=coverage(inside).share,
        settled=coverage(settled),
        met=all(judged) if judged else None,
    )


def coverage(inside: Sequence[bool]) -> Coverage:
    return Coverage(n=len(inside), share=sum(inside) / len(inside) if inside else None)


def errors_of(found: Sequence[float]) -> Errors:
    """Median and 90th percentile (nearest rank)."""
    if not found:
        return Errors(n=0, median=None, p90=None)
    ordered = sorted(found)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return Errors(n=len(ordered), median=middle, p90=ordered[-(-9 * len(ordered) // 10) - 1])
