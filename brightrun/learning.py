"""From what past jobs took to what the next one will take, with its uncertainty. Pure.

    found = fit([(units, seconds), ...], units_of_the_next) -> Fit(low, likely, high, n)

A part takes a + b x units: a line where sizes differ enough to see one, else the median rate. Low
and high hold 80 % of the next ones: the spread of past ones around the fit, widened for few of them
(Student's t, n - 1 degrees of freedom, a new value beside the mean: sqrt(1 + 1/n)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

LAST = 20  # newer jobs only: images, drivers and machines change
LINE_FROM = 4
APART = 1.5  # largest over smallest size from which a line can be told from a rate
ALONE = 0.30  # spread that one job leaves open
LEAST = 0.05  # no machine repeats itself better
# Two-sided 80 %: the 0.9 quantile of Student's t by degrees of freedom.
T80 = (3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383, 1.372)
T80_MANY = 1.30


class Fit(NamedTuple):
    """Seconds of the next one, and how many past ones say so."""

    low: float
    likely: float
    high: float
    n: int


def fit(past: Sequence[tuple[float, float]], size: float) -> Fit | None:
    """past: (units, seconds), newest first; None: there is none, or nothing to do."""
    known = [(units, seconds) for units, seconds in past if units > 0 and seconds > 0][:LAST]
    if not known or size <= 0:
        return None
    fixed, rate = line(known)
    likely = fixed + rate * size
    if len(known) == 1:
        return Fit(likely / (1 + ALONE), likely, likely * (1 + ALONE), 1)
    logs = [math.log(seconds / (fixed + rate * units)) for units, seconds in known]
    n = len(logs)
    mean = sum(logs) / n
    spread = math.sqrt(sum((value - mean) ** 2 for value in logs) / (n - 1))
    t = T80[n - 2] if n - 2 < len(T80) else T80_MANY
    wide = math.exp(max(math.log1p(LEAST), t * spread * math.sqrt(1 + 1 / n)))
    return Fit(likely / wide, likely, likely * wide, n)


def line(known: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(fixed seconds, seconds per unit), robust against a few odd jobs.

    Theil's incomplete method: sorted by size, each of the lower half gives a slope with its
    counterpart in the upper half; the median of them, and of what they leave, is the line.
    """
    if len(known) >= LINE_FROM:
        ordered = sorted(known)
        if ordered[-1][0] >= APART * ordered[0][0]:
            half = (len(ordered) + 1) // 2
            slopes = [
                (late - soon) / (big - small)
                for (small, soon), (big, late) in zip(ordered, ordered[half:], strict=False)
                if big != small
            ]
            rate = median(slopes)
            fixed = median([seconds - rate * units for units, seconds in known])
            if rate > 0 and fixed >= 0:
                return fixed, rate
    return 0.0, median([seconds / units for units, seconds in known])
