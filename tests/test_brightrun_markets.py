"""Interruption rates and what they cost: the same formulas for estimate, recovery, simulation."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brightrun.jobs import Market
from brightrun.markets import (
    MarketState,
    best_interval,
    expected_cost,
    expected_hours,
    hourly_rate,
    innocent_run,
)

rates, hours, overheads = st.floats(0, 3), st.floats(0, 100), st.floats(0, 5)


def test_the_prior_of_spot_is_what_the_business_reckons_with() -> None:
    rate = hourly_rate(Market.spot)
    assert rate.per_hour.likely == 0.2
    assert rate.per_hour.low == pytest.approx(0.10, abs=0.01)
    assert rate.per_hour.high == pytest.approx(0.30, abs=0.03)
    assert rate.hours == 0


def test_what_was_seen_replaces_the_prior_with_its_hours() -> None:
    few, many = hourly_rate(Market.spot, 1, 20), hourly_rate(Market.spot, 50, 1000)
    assert few.per_hour.likely == pytest.approx(6 / 45)
    assert many.per_hour.likely == pytest.approx(0.05, rel=0.1)
    assert many.per_hour.high - many.per_hour.low < few.per_hour.high - few.per_hour.low
    assert many.as_json() == {**many.per_hour.as_json(), "losses": 50, "hours": 1000}


@given(st.sampled_from(Market), st.integers(0, 500), st.floats(0, 1e5))
def test_a_loss_more_raises_the_rate_and_an_hour_more_lowers_it(
    market: Market, losses: int, seen: float
) -> None:
    rate = hourly_rate(market, losses, seen).per_hour.likely
    assert hourly_rate(market, losses + 1, seen).per_hour.likely > rate
    assert hourly_rate(market, losses, seen + 1).per_hour.likely < rate


def test_expected_hours_agree_with_dalys_complete_formula() -> None:
    rate, restart, interval = 0.3, 0.2, 1 / 6
    daly = 10 * math.exp(rate * restart) * math.expm1(rate * interval) / (rate * interval)
    assert expected_hours(10, rate, restart + interval / 2) == pytest.approx(daly, rel=2e-4)


@given(work=hours, rate=rates, overhead=overheads, more=st.floats(0.01, 5))
def test_more_of_anything_never_costs_less(
    work: float, rate: float, overhead: float, more: float
) -> None:
    def cost(price: float, work: float, rate: float, overhead: float) -> Decimal:
        usd = Decimal(str(price))
        state = MarketState(market=Market.spot, usd_per_hour=usd, interruptions_per_hour=rate)
        return expected_cost(state, work, overhead)

    usual = cost(2.5, work, rate, overhead)
    assert usual >= 0
    assert cost(2.5 + more, work, rate, overhead) >= usual
    assert cost(2.5, work + more, rate, overhead) >= usual
    assert cost(2.5, work, rate + more, overhead) >= usual
    assert cost(2.5, work, rate, overhead + more) >= usual


def test_youngs_interval_grows_with_the_save_and_shrinks_with_the_rate() -> None:
    assert best_interval(0.005, 0.25) == pytest.approx(0.2)
    assert best_interval(0.005, 1.0) == pytest.approx(0.1)
    assert best_interval(0.005, 0.0) == math.inf


@given(st.floats(0.001, 0.9), st.floats(0.01, 3))
def test_an_innocent_run_is_the_first_that_chance_hardly_makes(rate: float, over: float) -> None:
    number, one = innocent_run(rate, over, 0.001), -math.expm1(-rate * over)
    assert one**number <= 0.001 * (1 + 1e-9)
    assert number == 1 or one ** (number - 1) > 0.001 * (1 - 1e-9)
