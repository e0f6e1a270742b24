"""How large an effect is, and how far chance or length could have made it. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from evals.statistics import CONFIDENCE, Interval, wilson

OUTLIER = 0.20


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values: below 0.05 = significant among all of these tests together."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def effect_size(baseline: ArrayLike, trained: ArrayLike) -> float | None:
    """Cohen's d of the paired differences (mean / sd); None when they do not vary."""
    gap = np.asarray(trained, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    if len(gap) < 2 or (sd := float(gap.std(ddof=1))) < 1e-12:
        return None
    return float(gap.mean()) / sd


def preference(shares: Sequence[float]) -> Interval:
    """Share of scenarios that prefer the trained answer; a tie is a half. Wilson over scenarios.

    shares: per scenario, 1 = all judges prefer the trained answer, 0 = none does.
    """
    n, total = len(shares), float(sum(shares))
    if n == 0:
        raise ValueError("nobody was asked for a preference")
    low, high = wilson(total, n)
    return Interval(total / n, low, high, math.sqrt(total / n * (1 - total / n)), n)


def length_adjusted(gains: ArrayLike, log_length_ratios: ArrayLike) -> Interval | None:
    """The gain that is left at equal length: intercept of gain on log(words trained/baseline).

    Least squares over scenarios, t(n-2) interval. None when no length differs, or below 4.
    """
    y = np.asarray(gains, dtype=np.float64)
    x = np.asarray(log_length_ratios, dtype=np.float64)
    n = len(y)
    if n < 4 or float(np.ptp(x)) < 1e-9:
        return None
    if float(np.ptp(y)) == 0:
        return Interval(float(y[0]), float(y[0]), float(y[0]), 0.0, n)
    fit = stats.linregress(x, y)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 2)) * float(fit.intercept_stderr)
    left = float(fit.intercept)
    return Interval(left, left - half, left + half, float(fit.intercept_stderr) * math.sqrt(n), n)


def outliers(by_pass: dict[tuple[str, str, int], float]) -> list[tuple[str, str, int]]:
    """(model, scenario, pass) more than 20 % off the mean of its scenario's passes: to look at.

    They are named, never dropped. One pass alone cannot be off.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for (model, scenario, _), value in by_pass.items():
        groups.setdefault((model, scenario), []).append(value)
    found = []
    for name, value in sorted(by_pass.items()):
        others = groups[name[:2]]
        mean = sum(others) / len(others)
        if len(others) > 1 and abs(value - mean) > OUTLIER * abs(mean):
            found.append(name)
    return found
