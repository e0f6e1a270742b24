"""From what past jobs took to what the next one will take, with its uncertainty. Pure.

    found = fit([(units, seconds), ...], units_of_the_next) -> Fit(low, likely, high, n)

A part takes a + b x units: a line where sizes differ enough to see one, else the median rate. Low
and high hold 80 % of the next ones: the spread of past ones around the fit, widened for few of them
(Student's t, n - 1 degrees of freedom, a new value beside the mean: sqrt(1 + 1/n)).

    job = whole([fit, ...], misses) -> Whole(low, likely, high)

A job is the sum of its parts, and how far parts are off together nobody knows beforehand: the sum
of their bounds holds 80 % of jobs if all are off alike, and more if each is off by itself. So how
much of that sum a job needs comes from whole jobs before it, once there are enough of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from statistics import median
from typing import NamedTuple

LAST = 20  # newer jobs only: images, drivers and machines change
LINE_FROM = 4
APART = 1.5  # largest over smallest size from which a line can be told from a rate
ALONE = 0.30  # spread that one job leaves open
LEAST = 0.05  # no machine repeats itself better
# Whole jobs whose misses say how far the next is off: from the fewest that can leave a tenth
# outside at either end to about as many as speak of a part.
SETTLED = 9
WHOLE = 19
OUTSIDE = 0.1  # at either end
# Two-sided 80 %: the 0.9 quantile of Student's t by degrees of freedom.
T80 = (3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383, 1.372)
T80_MANY = 1.30


class Fit(NamedTuple):
    """Seconds of the next one, and how many past ones say so; settled: enough for their spread to
    stand alone."""

    low: float
    likely: float
    high: float
    n: int

    @property
    def settled(self) -> bool:
        return self.n >= SETTLED


class Whole(NamedTuple):
    """Seconds of a job's parts together; settled: low and high come from whole jobs. widest: the
    sums of the parts' bounds."""

    low: float
    likely: float
    high: float
    settled: bool
    widest: tuple[float, float]

    @property
    def tail(self) -> float:
        """Twice as far from likely as high, in shares: one of ten is above high, and how far those
        go depends on how skewed delays are."""
        return self.high**2 / self.likely

    def miss(self, actual: float) -> float:
        """How far off it was: 1 at the sum of the parts' highs, -1 at that of their lows."""
        off = math.log(actual / self.likely)
        return off / abs(math.log(self.widest[off > 0] / self.likely))


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


def whole(parts: Sequence[Fit], misses: Collection[float]) -> Whole:
    """misses: `Whole.miss` of past jobs, each estimated from the ones before it alone."""
    low, likely, high = (sum(part[bound] for part in parts) for bound in range(3))
    known, widest = bounds(misses), (low, high)
    if known is None:
        return Whole(low, likely, high, False, widest)
    low, high = (
        likely * (widest / likely) ** abs(miss)
        for widest, miss in zip((low, high), known, strict=True)
    )
    return Whole(low, likely, high, True, widest)


def bounds(misses: Collection[float]) -> tuple[float, float] | None:
    """Between which misses 80 % of the next jobs lie; None: under 9 are known.

    Of n past misses and a new one each is the smallest as often as any other: it is under the k-th
    smallest with k / (n + 1), whatever their distribution (conformal prediction; Vovk, Gammerman
    and Shafer, 2005). k between two ranks is interpolated. Likely (0) is always within.
    """
    if len(misses) < SETTLED:
        return None
    rank, ordered = OUTSIDE * (len(misses) + 1), sorted(misses)
    return min(0.0, _ranked(ordered, rank)), max(0.0, _ranked(ordered, len(misses) + 1 - rank))


def _ranked(ordered: Sequence[float], rank: float) -> float:
    """The value of a rank (1 = the first), between two of them by a straight line."""
    place = math.floor(rank + 1e-9)
    below, above = ordered[place - 1], ordered[min(place, len(ordered) - 1)]
    return below + max(0.0, rank - place) * (above - below)


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
