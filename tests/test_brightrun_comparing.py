"""Markets side by side, and which one is in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from brightrun.comparing import Outlook, outlook_left, recommend
from brightrun.costrange import CostRange
from brightrun.jobs import Market
from brightrun.markets import hourly_rate
from brightrun.physics import Range, exactly

NOW = datetime(2026, 11, 20, 17, tzinfo=UTC)


def outlook(market: Market, usd: float, hours: Range) -> Outlook:
    low, likely, high = (Decimal(str(usd * f)) for f in (0.5, 1, 2))
    return Outlook(market, CostRange(low, likely, high), hours, hourly_rate(market))


SPOT = outlook(Market.spot, 30, Range(10, 12, 20))
DEMAND = outlook(Market.on_demand, 80, Range(9, 10, 12))


def by(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def test_without_a_date_the_cheapest_is_recommended() -> None:
    found = recommend([DEMAND, SPOT], NOW)
    assert (found.market, found.in_time) == (Market.spot, None)
    assert "$30.00" in found.why


def test_the_cheapest_that_is_surely_in_time() -> None:
    assert recommend([SPOT, DEMAND], NOW, by(24)).market == Market.spot
    tight = recommend([SPOT, DEMAND], NOW, by(15))
    assert (tight.market, tight.in_time) == (Market.on_demand, True)
    assert "spot: likely $30.00 may be late" in tight.why
    assert "2026-11-21 08:00 UTC" in tight.why


def test_a_date_that_cannot_be_kept_is_said() -> None:
    likely = recommend([SPOT, DEMAND], NOW, by(11))
    assert (likely.market, likely.in_time) == (Market.on_demand, False)
    assert "not surely" in likely.why
    late = recommend([SPOT, DEMAND], NOW, by(1))
    assert late.market == Market.on_demand
    assert "likely done at 2026-11-21 03:00 UTC" in late.why
    assert recommend([], NOW).as_json() == {
        "market": None, "why": "no market is on offer", "in_time": None,
    }  # fmt: skip


@given(st.floats(0.5, 40), st.floats(0, 20))
def test_more_time_never_costs_more(hours: float, more: float) -> None:
    cost = {Market.spot: 30, Market.on_demand: 80}
    tight, loose = (recommend([SPOT, DEMAND], NOW, by(h)) for h in (hours, hours + more))
    assert tight.market is not None
    assert loose.market is not None
    assert cost[loose.market] <= cost[tight.market]
    assert bool(tight.in_time) <= bool(loose.in_time)


def test_a_running_job_is_compared_by_what_is_left() -> None:
    rate = hourly_rate(Market.spot)
    usd, work, overhead = Decimal("2.49"), Range(4, 5, 7), exactly(0.25)
    left = outlook_left(Market.spot, usd, rate, work, overhead)
    calm = outlook_left(Market.spot, usd, replace(rate, per_hour=exactly(0.0)), work, overhead)
    assert calm.cost_usd.likely == Decimal("12.45")
    assert left.cost_usd.likely > calm.cost_usd.likely
    assert left.finish(NOW)["low"] < left.finish(NOW)["high"]
