"""The statistics hold what they promise: coverage, symmetry, edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

from evals import rules, statistics
from evals.statistics import Interval


def likert(rng: np.random.Generator, mean: float, size: tuple[int, int]) -> np.ndarray:
    """Scores 1-5 whose mean is exactly `mean`: 1 + Binomial(4, p)."""
    return 1 + rng.binomial(4, (mean - 1) / 4, size=size)


def test_the_log_ratio_t_interval_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(7)
    runs, covered = 4000, 0
    shared = rng.normal(0, 0.4, size=(runs, 50))
    before = np.clip(likert(rng, 2.5, (runs, 50)) + shared, 0.2, None)
    after = likert(rng, 3.5, (runs, 50)) + shared
    for b, t in zip(before, after, strict=True):
        found = statistics.log_ratio_t(b, t)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.4 <= found.high
    assert 0.935 <= covered / runs <= 0.965


@pytest.mark.parametrize("conversations", [12, 30, 50])
def test_the_perplexity_interval_covers_with_few_uneven_conversations(conversations: int) -> None:
    """A percentile bootstrap covers less: 90 %, 93 % and 94 %."""
    rng = np.random.default_rng(8)
    runs, covered, drawn = 2000, 0, 0
    for seed in range(runs):
        tokens = rng.integers(200, 1800, size=conversations).astype(float)
        change = (-0.357 + rng.normal(0, 0.08, size=conversations)) * tokens
        found = statistics.weighted_mean_t(change, tokens)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= -0.357 <= found.high
        low, high = statistics.cluster_bootstrap(change, tokens, seed=seed, draws=400)
        drawn += low <= -0.357 <= high
    assert 0.93 <= covered / runs <= 0.965
    assert drawn < covered


def test_no_effect_is_called_improved_in_at_most_six_percent() -> None:
    rng = np.random.default_rng(9)
    calls = 0
    for _ in range(2000):
        pair = likert(rng, 3.0, (2, 50))
        found = statistics.improved(statistics.paired_difference(pair[0], pair[1]), "higher")
        calls += found is not None
    assert calls / 2000 <= 0.06


def test_the_retention_interval_covers_near_the_target() -> None:
    rng = np.random.default_rng(10)
    runs, covered, n = 1500, 0, 100
    # P(both), P(only trained), P(only baseline): retained share 0.83 / 0.87.
    shares = (0.79, 0.04, 0.08, 0.09)
    for both, gained, lost, _ in rng.multinomial(n, shares, size=runs):
        found = statistics.retained_share(both, gained, lost, n)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.83 / 0.87 <= found.high
    assert 0.935 <= covered / runs <= 0.97


@pytest.mark.parametrize(
    ("both", "gained", "lost", "theta"),
    [(70, 3, 9, 0.9), (70, 0, 0, 0.95), (40, 12, 2, 1.2), (10, 5, 5, 0.7)],
)
def test_the_score_statistic_uses_the_constrained_likelihood(
    both: int, gained: int, lost: int, theta: float
) -> None:
    """The closed form equals the constrained maximum found by search."""
    n = 100

    def nll(p10: float) -> float:
        # Under H0: p11 + p10 = theta (p11 + p01), the score form keeps p10 + p11 + p01 free.
        best = math.inf
        for p11 in np.linspace(1e-6, 1, 2001):
            p01 = (p11 + p10) / theta - p11
            p00 = 1 - p11 - p10 - p01
            if p01 < -1e-12 or p00 < -1e-12:
                continue
            terms = ((both, p11), (gained, p10), (lost, p01), (n - both - gained - lost, p00))
            value = -sum(c * math.log(max(p, 1e-12)) for c, p in terms if c)
            best = min(best, value)
        return best

    found = optimize.minimize_scalar(nll, bounds=(0, 0.5), method="bounded")
    p10 = max(0.0, float(found.x))
    z = statistics._retention_z(theta, both, gained, lost, n)
    gap = (both + gained) / n - theta * (both + lost) / n
    variance = (gap / z) ** 2 * n / theta
    # variance = q10 + q01 with q01 = theta q10 + (1 - theta)(p11 + p10 + p01)
    answered = (both + gained + lost) / n
    p01 = theta * p10 + (1 - theta) * answered
    assert variance == pytest.approx(p10 + p01, abs=0.01)


def test_no_discordant_pair_still_leaves_doubt() -> None:
    few = statistics.retained_share(20, 0, 0, 25)
    many = statistics.retained_share(900, 0, 0, 1000)
    assert (few.estimate, many.estimate) == (1.0, 1.0)
    assert few.low is not None
    assert many.low is not None
    assert few.low < 0.90 < 0.99 < many.low < 1


def test_retention_of_nothing_is_refused_and_total_loss_is_no_crash() -> None:
    with pytest.raises(ValueError, match="no right answer"):
        statistics.retained_share(0, 5, 0, 20)
    lost = statistics.retained_share(0, 0, 15, 20)
    assert (lost.estimate, lost.low) == (0.0, 0.0)
    assert lost.high is not None
    assert lost.high < 0.5


def test_identical_pairs_give_zero_without_nan() -> None:
    for found in (
        statistics.paired_difference([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        statistics.log_ratio_t([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        statistics.weighted_mean_t([0, 0, 0, 0, 0], [1, 2, 3, 4, 5]),
    ):
        assert (found.estimate, found.low, found.high) == (0, 0, 0)
        assert statistics.improved(found, "higher") is None
        assert statistics.improved(found, "lower") is None


def test_swapping_the_sides_inverts_the_ratio() -> None:
    before, after = [2, 3, 3, 4, 2, 3], [4, 4, 3, 5, 4, 3]
    there, back = statistics.log_ratio_t(before, after), statistics.log_ratio_t(after, before)
    assert back.estimate == pytest.approx(1 / (1 + there.estimate) - 1)
    assert there.low is not None
    assert back.high == pytest.approx(1 / (1 + there.low) - 1)


def test_the_bootstrap_is_seeded_and_draws_whole_clusters() -> None:
    sums, weights = -np.arange(1.0, 21.0), np.full(20, 100.0)
    sums[7], weights[7] = -300.0, 1000.0
    first = statistics.cluster_bootstrap(sums, weights, seed=3)
    assert first == statistics.cluster_bootstrap(sums, weights, seed=3)
    assert first != statistics.cluster_bootstrap(sums, weights, seed=4)
    assert -0.3 <= first[0] < sums.sum() / weights.sum() < first[1] <= -0.01


def test_one_cluster_has_no_interval_and_decides_nothing() -> None:
    found = statistics.paired_difference([1.0], [9.0])
    assert (found.low, found.high) == (None, None)
    assert statistics.decide(found, 0.1, "higher") == "inconclusive"
    assert statistics.improved(found, "higher") is None


@pytest.mark.parametrize(
    ("low", "high", "better", "expected"),
    [
        (-0.45, -0.31, "lower", "pass"),
        (-0.45, -0.30, "lower", "pass"),
        (-0.45, -0.29, "lower", "inconclusive"),
        (-0.29, -0.20, "lower", "fail"),
        (0.96, 1.01, "higher", "pass"),
        (0.94, 1.01, "higher", "inconclusive"),
        (0.80, 0.94, "higher", "fail"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, better: str, expected: str) -> None:
    target = -0.30 if better == "lower" else 0.95
    interval = Interval((low + high) / 2, low, high, 1.0, 20)
    assert statistics.decide(interval, target, better) == expected  # type: ignore[arg-type]
    four = Interval((low + high) / 2, low, high, 1.0, 4)
    assert statistics.decide(four, target, better) == "inconclusive"  # type: ignore[arg-type]


def test_mcnemar_and_wilson_agree_with_textbook_values() -> None:
    assert statistics.mcnemar_exact(0, 0) == 1.0
    assert statistics.mcnemar_exact(6, 0) == pytest.approx(2 * 0.5**6)
    assert statistics.mcnemar_exact(5, 5) == 1.0
    assert statistics.wilson(85, 100) == pytest.approx((0.7672, 0.9069), abs=2e-4)
    assert statistics.wilson(0, 0) == (0.0, 1.0)


def test_n_needed_reaches_eighty_percent_power() -> None:
    n = statistics.n_needed(0.3, 0.1)
    assert n is not None
    assert statistics.power(n, 0.3, 0.1) == pytest.approx(0.80, abs=0.01)
    assert statistics.power(n // 2, 0.3, 0.1) < 0.6
    assert statistics.n_needed(0.3, 0.0) is None


def test_forty_percent_is_unattainable_from_a_mean_of_three_point_eight() -> None:
    assert rules.max_attainable_gain(3.8) == pytest.approx(0.3158, abs=1e-4)
    assert rules.attainable_note(3.8, 0.40) == "+40 % unattainable (max +31.6 %)"
    assert rules.attainable_note(3.2, 0.40) == ""
    closed = statistics.headroom_closed([3.6, 4.0, 3.8], [4.4, 4.4, 4.4])
    assert closed is not None
    assert closed.estimate == pytest.approx(0.5)
    assert closed.low is not None
    assert closed.high is not None
    assert closed.low < 0.5 < closed.high
    assert statistics.headroom_closed([5.0, 5.0], [5.0, 5.0]) is None
    with pytest.raises(ValueError, match="outside"):
        rules.max_attainable_gain(5.5)
