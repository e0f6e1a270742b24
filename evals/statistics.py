"""Thin wrappers over scipy: intervals, tests and decisions. Pure functions of numbers.

Every interval is two-sided 95 %. A ratio is worked on as a logarithm (a percentile bootstrap of a
ratio covers 92.9 % at n = 50 Likert pairs, a log-ratio t interval 94.9 %: both simulated).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from brightrun.verdicts import TargetMet
from evals import rules

CONFIDENCE, POWER = rules.CONFIDENCE, rules.POWER
DRAWS, MIN_CLUSTERS = rules.DRAWS, rules.MIN_CLUSTERS
Better = Literal["lower", "higher"]
Floats = NDArray[np.float64]
_Z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
_Z_POWER = float(stats.norm.ppf(POWER))


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval. `sd` is per cluster, on the scale that was worked on.

    low and high are None when n < 2: one cluster carries no variance. p: two-sided, of no change,
    where the method gives one.
    """

    estimate: float
    low: float | None
    high: float | None
    sd: float
    n: int
    p: float | None = None


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def t_interval(mean: float, values: Floats) -> Interval:
    """mean +- t(n-1) * sd / sqrt(n), sd of `values` (one per cluster)."""
    n = len(values)
    if n < 2:
        return Interval(mean, None, None, 0.0, n)
    sd = float(np.std(values, ddof=1))
    error = sd / math.sqrt(n)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
    if error == 0:
        return Interval(mean, mean, mean, sd, n, 0.0 if mean else 1.0)
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return Interval(mean, mean - half, mean + half, sd, n, p)


def paired_difference(baseline: ArrayLike, trained: ArrayLike) -> Interval:
    """Mean of trained - baseline over pairs (one pair per cluster), t interval."""
    differences = _floats(trained) - _floats(baseline)
    if differences.size == 0:
        raise ValueError("no pairs")
    return t_interval(float(differences.mean()), differences)


def log_ratio_t(baseline: ArrayLike, trained: ArrayLike) -> Interval:
    """Ratio of means trained/baseline over pairs, as relative change (0.4 = 40 % more).

    Delta method on the logarithm: u_i = t_i/mean(t) - b_i/mean(b), se = sd(u)/sqrt(n), t(n-1).
    `sd` is that of u. ValueError unless both means are positive.
    """
    before, after = _floats(baseline), _floats(trained)
    if before.size == 0 or before.mean() <= 0 or after.mean() <= 0:
        raise ValueError("a log ratio needs positive means")
    log_ratio = math.log(after.mean() / before.mean())
    linear = after / after.mean() - before / before.mean()
    return to_relative(t_interval(log_ratio, linear))


def to_relative(log_scale: Interval) -> Interval:
    """An interval on the log scale as relative change: exp(x) - 1; sd stays on the log scale."""
    low, high = (None if x is None else math.expm1(x) for x in (log_scale.low, log_scale.high))
    return Interval(
        math.expm1(log_scale.estimate), low, high, log_scale.sd, log_scale.n, log_scale.p
    )


def weighted_mean_t(sums: ArrayLike, weights: ArrayLike) -> Interval:
    """sum(sums)/sum(weights) over clusters, t interval of the linearised ratio estimator.

    u_i = (s_i - R w_i) / mean(w); Cochran, Sampling Techniques, 6.4.
    """
    totals, weight = _floats(sums), _floats(weights)
    if totals.size == 0 or weight.sum() <= 0:
        raise ValueError("no weight")
    ratio = float(totals.sum() / weight.sum())
    return t_interval(ratio, (totals - ratio * weight) / weight.mean())


def cluster_bootstrap(
    sums: ArrayLike, weights: ArrayLike, *, seed: int, draws: int = DRAWS
) -> tuple[float, float]:
    """Percentile interval of sum(sums)/sum(weights) when whole clusters are drawn again."""
    totals, weight = _floats(sums), _floats(weights)
    rng = np.random.default_rng(seed)
    n = len(totals)
    at_once = max(1, 4_000_000 // n)
    ratios = np.empty(draws)
    for start in range(0, draws, at_once):
        drawn = rng.integers(0, n, size=(min(at_once, draws - start), n))
        ratios[start : start + len(drawn)] = totals[drawn].sum(1) / weight[drawn].sum(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson score interval of a share; (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, _Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided exact p of McNemar's test from the two discordant counts; 1.0 when none."""
    if lost + gained == 0:
        return 1.0
    return float(stats.binomtest(lost, lost + gained, 0.5).pvalue)


def _retention_z(theta: float, both: float, gained: float, lost: float, n: int) -> float:
    """Score statistic of H0: share(trained) = theta * share(baseline), paired."""
    after, before = (both + gained) / n, (both + lost) / n
    p10, p01 = gained / n, lost / n
    root = math.sqrt((after - theta**2 * before) ** 2 + 4 * theta**2 * p10 * p01)
    q10 = (-after + theta**2 * (before + 2 * p10) + root) / (2 * theta * (theta + 1))
    q01 = theta * q10 - (theta - 1) * (both + gained + lost) / n
    variance = theta * (q10 + q01) / n
    gap = after - theta * before
    if variance <= 0:
        return 0.0 if abs(gap) < 1e-15 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


def retained_share(both: float, gained: float, lost: float, n: int) -> Interval:
    """Ratio of paired shares trained/baseline, score interval.

    Source: Nam and Blackwelder, Statistics in Medicine 21 (2002) 689-699. Unlike a delta or
    bootstrap interval it stays honest when no pair is discordant (no loss in 25 questions proves
    little). Counts: right in both, only trained right, only baseline right, of n. `sd` is per
    question on the log scale, half a pair added to each discordant cell so that it is never 0.
    ValueError when the baseline has no right answer.
    """
    if both + lost <= 0:
        raise ValueError("the baseline has no right answer: nothing can be retained")
    estimate = (both + gained) / (both + lost)

    def crossing(z: float) -> float:
        lowest, highest = math.log(1e-6), math.log(1e6)

        def gap(log_theta: float) -> float:
            return min(1e9, max(-1e9, _retention_z(math.exp(log_theta), both, gained, lost, n))) - z

        if gap(lowest) <= 0:
            return 0.0
        return math.exp(float(optimize.brentq(gap, lowest, highest)))

    shares = (both + gained + 0.5) / n, (both + lost + 0.5) / n
    discordant = (gained + lost + 1) / n
    sd = math.sqrt(max(discordant, 0.0) / (shares[0] * shares[1]))
    return Interval(estimate, min(estimate, crossing(_Z)), max(estimate, crossing(-_Z)), sd, n)


def n_needed(sd: float, gap: float) -> int | None:
    """Clusters for 80 % power that a 95 % interval excludes a target `gap` away; None if 0."""
    if abs(gap) < 1e-12 or not math.isfinite(sd):
        return None
    return max(MIN_CLUSTERS, math.ceil(((_Z + _Z_POWER) * sd / abs(gap)) ** 2))


def power(n: int, sd: float, gap: float) -> float:
    """Chance that a 95 % interval from n clusters excludes a target `gap` away (normal)."""
    if sd == 0:
        return 1.0 if gap else 0.0
    return float(stats.norm.cdf(abs(gap) / (sd / math.sqrt(n)) - _Z))


def decide(interval: Interval, target: float, better: Better) -> TargetMet:
    """pass or fail only when the whole interval lies on one side of the target."""
    low, high = interval.low, interval.high
    if low is None or high is None or interval.n < MIN_CLUSTERS:
        return "inconclusive"
    if (high <= target) if better == "lower" else (low >= target):
        return "pass"
    if (low > target) if better == "lower" else (high < target):
        return "fail"
    return "inconclusive"


def improved(interval: Interval, better: Better) -> bool | None:
    """True or False when the whole interval of a change lies on one side of 0, else None."""
    low, high = interval.low, interval.high
    if low is None or high is None or interval.n < MIN_CLUSTERS or low <= 0 <= high:
        return None
    return (high < 0) if better == "lower" else (low > 0)


def headroom_closed(baseline: ArrayLike, trained: ArrayLike, top: float = 5.0) -> Interval | None:
    """sum(trained - baseline) / sum(top - baseline) over pairs; None when there was no headroom."""
    before, after = _floats(baseline), _floats(trained)
    room = top - before
    return weighted_mean_t(after - before, room) if room.sum() > 0 else None


def cluster_means(values: Sequence[float], clusters: Sequence[str]) -> dict[str, float]:
    """Mean per cluster, clusters in sorted order."""
    grouped: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        grouped.setdefault(cluster, []).append(value)
    return {name: float(np.mean(grouped[name])) for name in sorted(grouped)}
