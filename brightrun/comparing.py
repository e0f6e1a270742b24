"""The markets side by side (cost, finish, interruptions) and which one to take. Pure.

Before a job the rows come from its estimate, for a running one from the work that is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from brightrun.costrange import CostRange
from brightrun.costs import CONTROL_PLANE, Estimate, estimate
from brightrun.durations import Observed, Work
from brightrun.jobs import Hyperparameters, Market
from brightrun.markets import Rate, expected_hours
from brightrun.money import shown
from brightrun.physics import Machine, ModelProfile, Range
from brightrun.prices import Price


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a market would mean for a job: dollars, and hours until its report."""

    market: Market
    cost_usd: CostRange
    hours: Range
    rate: Rate

    def finish(self, now: datetime) -> dict[str, datetime]:
        """{low, likely, high}: when the report is there if the job starts now."""
        bounds = {k: getattr(self.hours, k) for k in ("low", "likely", "high")}
        return {name: now + timedelta(hours=hours) for name, hours in bounds.items()}


@dataclass(frozen=True, slots=True)
class MarketRow:
    """One line of the side-by-side table; an offer that cannot be rented has no estimate."""

    market: str
    offered: bool
    price: Price
    estimate: Estimate | None

    @property
    def outlook(self) -> Outlook | None:
        """None: not on offer."""
        if self.estimate is None:
            return None
        hours = self.estimate.hours + CONTROL_PLANE.times(1 / 3600)
        return Outlook(self.price.market, self.estimate.cost_usd, hours, self.estimate.rate)

    def as_json(self) -> dict[str, Any]:
        """{market, offered, gpu, price, note}; when offered also hours, cost_usd, turnaround_h,
        interruptions_per_hour."""
        row: dict[str, Any] = {
            "market": self.market,
            "offered": self.offered,
            "gpu": self.price.gpu,
            "price": self.price.as_json(),
            "note": self.price.note,
        }
        if self.estimate is not None:
            row["hours"] = self.estimate.hours.as_json()
            row["cost_usd"] = self.estimate.cost_usd.as_json()
            row["turnaround_h"] = round(self.estimate.turnaround_h, 4)
            row["interruptions_per_hour"] = self.estimate.rate.as_json()
        return row


def compare_markets(
    work: Work,
    machine: Machine,
    model: ModelProfile,
    values: Hyperparameters,
    offered: Sequence[Price],
    observed: Sequence[Observed] = (),
    rates: Mapping[Market, Rate] | None = None,
) -> list[MarketRow]:
    """Every market in the order of `offered`; one that is not offered says so."""
    return [
        MarketRow(
            market=str(price.market),
            offered=price.offered,
            price=price,
            estimate=estimate(work, machine, model, values, price, observed, rates=rates)
            if price.offered
            else None,
        )
        for price in offered
    ]


def outlook_left(market: Market, usd: Decimal, rate: Rate, work: Range, overhead: Range) -> Outlook:
    """Of a running job that would go on there.

    usd: an hour; work: hours of undisturbed work that are left, the next start included;
    overhead: hours that one interruption costs.
    """
    bounds = ("low", "likely", "high")
    low, likely, high = (
        expected_hours(getattr(work, b), getattr(rate.per_hour, b), getattr(overhead, b))
        for b in bounds
    )
    pods = Range(low, likely, high)
    return Outlook(market, CostRange.of(pods, usd), pods + CONTROL_PLANE.times(1 / 3600), rate)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """market None: nothing is on offer. in_time: at the high end too; None: no date was given."""

    market: Market | None
    why: str
    in_time: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """{market, why, in_time}."""
        market = None if self.market is None else str(self.market)
        return {"market": market, "why": self.why, "in_time": self.in_time}


def recommend(
    outlooks: Sequence[Outlook], now: datetime, needed_by: datetime | None = None
) -> Recommendation:
    """The cheapest market that is surely in time, else likely, else the soonest."""
    if not outlooks:
        return Recommendation(None, "no market is on offer", None if needed_by is None else False)
    cheapest = min(outlooks, key=lambda o: (o.cost_usd.likely, o.hours.likely))
    if needed_by is None:
        return Recommendation(cheapest.market, f"{costing(cheapest)}, the least in expectation")
    date = f"{needed_by:%Y-%m-%d %H:%M %Z}".strip()
    surely = [o for o in outlooks if o.finish(now)["high"] <= needed_by]
    if surely:
        best = min(surely, key=lambda o: (o.cost_usd.likely, o.hours.likely))
        more = "" if best.market == cheapest.market else f"; {costing(cheapest)} may be late"
        return Recommendation(best.market, f"{costing(best)}, done before {date}{more}", True)
    soonest = min(outlooks, key=lambda o: (o.hours.high, o.cost_usd.likely))
    likely = soonest.finish(now)["likely"]
    if likely <= needed_by:
        return Recommendation(
            soonest.market, f"{costing(soonest)}, likely but not surely done before {date}", False
        )
    late = f"too late for {date}: likely done at {likely:%Y-%m-%d %H:%M %Z}".strip()
    return Recommendation(soonest.market, f"{costing(soonest)}, the soonest, but {late}", False)


def costing(outlook: Outlook) -> str:
    """ "spot: likely $5.10"."""
    return f"{outlook.market}: likely {shown(outlook.cost_usd.likely)}"
