"""What other processes on this machine do to the times of a job. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from brightrun.physics import Range, total

Name = TypeVar("Name", bound=str)
# Seconds that a load which a sample of 0.8 s met is likely to go on: about one demo job, or one run
# of a test suite. A guess: the sample says nothing of what comes after it.
PASSING = 15 * 60.0
# With less than this of its cores a job is told that the machine is busy: physics counts a fifth
# for what always runs beside a pod (speed.IN_A_JOB).
USUAL = 0.8


def under_load(parts: Mapping[Name, Range], free: float) -> dict[Name, Range]:
    """Seconds of the parts where others leave the share `free` of the cores now.

    Low: they end at once. Likely: they go on for PASSING, the rest of the job runs alone. High:
    they never end, if that is more than high has for others already.
    """
    alone = total(list(parts.values())).likely
    factor = expected(alone, free) / alone if alone else 1.0
    busy = {}
    for name, part in parts.items():
        always = part.likely / free
        # Rounding: a factor of 1 / free is not that division to the last bit.
        busy[name] = Range(part.low, min(part.likely * factor, always), max(part.high, always))
    return busy


def expected(alone: float, free: float) -> float:
    """Seconds of work that takes `alone`, with the share `free` for its first PASSING seconds."""
    return min(alone / free, alone + (1 - free) * PASSING)


def told(free: float) -> tuple[str, ...]:
    """The warning that others use this machine, if they do."""
    if free >= USUAL:
        return ()
    return (
        f"this machine is busy now: other processes take {1 - free:.0%} of the cores that a job "
        f"would use; likely assumes that for {PASSING / 60:.0f} min, high for the whole job",
    )
