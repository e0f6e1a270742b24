"""How often a market takes its pods back, and what renting there costs in expectation. Pure.

Interruptions are a Poisson process: memoryless, `rate` an hour, independent of what runs. The
estimate, recovery and the simulation all use these formulas; they stand nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brightrun.frozen import Frozen
from brightrun.jobs import Market
from brightrun.physics import Range, exactly

# What is believed before anything was seen, as losses in pod hours. Spot: the business reckons
# with 10-30 % an hour, which are about the 10th and 90th percentile of this. On-demand hosts
# fail too: a guess.
PRIOR = {Market.spot: (5.0, 25.0), Market.on_demand: (0.5, 100.0)}
TENTH = 1.2816  # standard normal quantile of 90 %
STEEPEST = 50.0  # exponent beyond which a cost is "never", not a number


@dataclass(frozen=True, slots=True)
class Rate:
    """Interruptions an hour: 10th percentile, mean, 90th; and the losses and pod hours seen."""

    per_hour: Range
    losses: int = 0
    hours: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """{low, likely, high, losses, hours}; the last two are what was observed."""
        seen = {"losses": self.losses, "hours": round(self.hours, 1)}
        return {**self.per_hour.as_json(), **seen}


STEADY = Rate(exactly(0.0))  # this machine is not taken away


def hourly_rate(market: Market, losses: int = 0, hours: float = 0.0) -> Rate:
    """The prior of a market and what was seen there: `losses` in `hours` of rented pods.

    Gamma-Poisson: a prior of a losses in b hours becomes a + losses in b + hours (Gelman et al.,
    Bayesian Data Analysis, 2.6). Percentiles by Wilson and Hilferty (1931): within 1 % from five
    losses on, prior included.
    """
    a, b = PRIOR[market]
    shape, mean = a + losses, (a + losses) / (b + hours)
    low, high = (
        mean * max(0.0, 1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape))) ** 3
        for z in (-TENTH, TENTH)
    )
    return Rate(Range(min(low, mean), mean, max(high, mean)), losses, hours)


class MarketState(Frozen):
    """A market as recovery sees it. source: where the price is from, "" = the estimate."""

    market: Market
    usd_per_hour: Decimal
    offered: bool = True
    interruptions_per_hour: float = 0.0
    source: str = ""


def expected_hours(work: float, rate: float, overhead: float) -> float:
    """Pod hours until `work` hours are done: work x e^(rate x overhead).

    overhead: hours that one interruption costs (detect, boot, load, half a checkpoint interval).
    Daly (2006) gives T = work x e^(rate R) (e^(rate t) - 1) / (rate t) for restarts of R hours,
    which may fail too, and checkpoints every t; with overhead = R + t / 2 this is the same up to
    (rate t)^2 / 24. To first order: work + rate x work x overhead.
    """
    return work * math.exp(min(STEEPEST, rate * overhead))


def expected_cost(state: MarketState, work: float, overhead: float) -> Decimal:
    """Dollars until `work` hours are done on a market: price x expected hours."""
    hours = expected_hours(work, state.interruptions_per_hour, overhead)
    return state.usd_per_hour * Decimal(str(round(hours, 9)))


def best_interval(save: float, rate: float) -> float:
    """Hours between checkpoints that lose least: sqrt(2 x save / rate) (Young 1974, Daly 2006).

    save: hours that training stands still for one; without interruptions never (infinity).
    """
    return math.sqrt(2 * save / rate) if rate > 0 else math.inf


def innocent_run(rate: float, overhead: float, doubt: float) -> int:
    """Losses in a row without progress that the market alone explains with less than `doubt`.

    A pod shows nothing new for `overhead` hours; so long it is taken away with 1 - e^(-rate x
    overhead), a run of n with the n-th power of that.
    """
    one = min(1 - 1e-6, -math.expm1(-rate * overhead))
    return math.ceil(math.log(doubt) / math.log(one)) if one > 0 else 1
