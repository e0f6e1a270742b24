"""An estimate's dollars, and the most that its job may cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from brightrun.physics import Range

# A limit below this would stop a cheap job on a machine that is merely busy: half an hour of rent
# (25 notional cents on a laptop, about a dollar on an H100) is never worth losing a run for.
LEAST_LIMIT_HOURS = 0.5
HEADROOM = 1.25  # above an estimate's tail


@dataclass(frozen=True, slots=True)
class CostRange:
    """Dollars, rounded to the micro-dollar; tail: what the hard limit is reckoned from, None: high
    (`remembered.Expected`)."""

    low: Decimal
    likely: Decimal
    high: Decimal
    tail: Decimal | None = None

    @property
    def most(self) -> Decimal:
        """What hardly a job exceeds: the tail, never less than high."""
        return self.high if self.tail is None else max(self.high, self.tail)

    @classmethod
    def of(cls, hours: Range, usd_per_hour: Decimal, tail: float | None = None) -> CostRange:
        bounds = (hours.low, hours.likely, hours.high, hours.high if tail is None else tail)
        return cls(*(dollars(h, usd_per_hour) for h in bounds))

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> CostRange:
        """Of an estimate as `Estimate.as_json` wrote it."""
        usd = {**facts["cost_usd"], "tail": facts.get("tail_usd", facts["cost_usd"]["high"])}
        return cls(**{name: Decimal(str(usd[name])) for name in ("low", "likely", "high", "tail")})

    def as_json(self) -> dict[str, float]:
        return {k: round(float(getattr(self, k)), 4) for k in ("low", "likely", "high")}


def dollars(hours: float, usd_per_hour: Decimal) -> Decimal:
    """Price times hours, rounded to the micro-dollar."""
    exact = Decimal(str(hours)) * usd_per_hour
    return exact.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)


def hard_limit(
    cost: CostRange, budget_left: Decimal | None, usd_per_hour: Decimal = Decimal(0)
) -> Decimal:
    """max(1.25 x the estimate's tail, half an hour's rent), at most the budget left.

    Dollars, never negative. usd_per_hour 0: the price is not known, the estimate alone counts.
    """
    limit = max(cost.most * Decimal(str(HEADROOM)), dollars(LEAST_LIMIT_HOURS, usd_per_hour))
    return limit if budget_left is None else min(limit, max(Decimal(0), budget_left))
