"""The world outside: how long things take, when pods are lost, when machines are free."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from brightrun.compute.candidates import badness, rank
from brightrun.jobs import Market
from brightrun.situation import Place

TIMES = Path(__file__).parent / "times.toml"
EPOCH = datetime(2026, 11, 20, 17, tzinfo=UTC)
FOR_EVER = math.inf
HOUR = 3600.0


@cache
def times(path: Path = TIMES) -> dict[str, Any]:
    """The assumptions, as they stand in the file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Scenario:
    """spot_per_hour: what really happens, unknown to the policy. supply: a table of times.toml.

    sigma: of the pace, None = as in times.toml.
    """

    name: str
    spot_per_hour: float
    supply: str = "usual"
    sigma: float | None = None


SCENARIOS = (
    Scenario("calm", 0.0),
    Scenario("interrupted_10", 0.1),
    Scenario("interrupted_20", 0.2),
    Scenario("interrupted_30", 0.3),
    Scenario("drought_30", 0.3, "drought"),
)


class World:
    """One job's world: the same seed gives the same luck, whatever the policy does with it."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.facts = scenario, times()
        self.luck = Random(seed)  # noqa: S311 - not for secrets
        self.supplies = {market: self._supply(market, seed) for market in Market}
        share = self.facts["places"]["bad"]
        count = self.facts["places"]["data_centers"]
        self.bad = {f"DC-{n}" for n in range(count) if self.luck.random() < share}
        self.centers = [f"DC-{n}" for n in range(count)]

    def _supply(self, market: Market, seed: int) -> Supply:
        table = self.facts["market"][self.scenario.supply]
        luck = Random(seed * 2 + (market == Market.spot))  # noqa: S311
        return Supply(table[f"{market}_free"], table[f"{market}_empty"], luck)

    def draw(self, name: str) -> float:
        """Seconds of a part."""
        row = self.facts[name]
        return self.luck.triangular(row["low"], row["high"], row["usual"])

    def happens(self, table: str, name: str) -> bool:
        return self.luck.random() < float(self.facts[table][name])

    def hours(self) -> float:
        """Undisturbed hours of a job."""
        bands = self.facts["jobs"]["bands"]
        _, first, last = self.luck.choices(bands, [band[0] for band in bands])[0]
        return self.luck.uniform(first, last)

    def pace(self) -> float:
        """Real over likely duration."""
        sigma = self.scenario.sigma
        return self.luck.lognormvariate(
            0.0, self.facts["pace"]["sigma"] if sigma is None else sigma
        )

    def lives(self, market: Market) -> float:
        """Seconds until a pod is lost."""
        rate = self.scenario.spot_per_hour
        if market == Market.on_demand:
            rate = self.facts["loss"]["on_demand_per_hour"]
        return self.luck.expovariate(rate) * HOUR if rate else FOR_EVER

    def free(self, market: Market, now: float) -> bool:
        return self.supplies[market].free(now)

    def place(self, avoid: Iterable[Place]) -> str:
        """A data centre: one of those of which the least bad is known, as the pipeline orders."""
        blamed = {(place.data_center, ""): place for place in sorted(avoid, key=badness)}
        ranks = {name: rank((name, ""), blamed) for name in self.centers}
        least = min(ranks.values())
        return self.luck.choice([name for name in self.centers if ranks[name] == least])


class Supply:
    """Free and empty hours in turns, exponential; the first state is drawn by its share."""

    def __init__(self, free_hours: float, empty_hours: float, luck: Random) -> None:
        self.means, self.luck = (empty_hours, free_hours), luck
        self.state = luck.random() < free_hours / (free_hours + empty_hours)
        self.until = self._lasts()

    def _lasts(self) -> float:
        return self.luck.expovariate(1 / self.means[self.state]) * HOUR

    def free(self, now: float) -> bool:
        """Asked with a clock that only grows; now: seconds since the job began."""
        while self.until <= now:
            self.state = not self.state
            self.until += self._lasts()
        return self.state


def price_of(market: Market) -> Decimal:
    """Dollars an hour."""
    return Decimal(times()["prices"][str(market)])
