"""What goes wrong in one run, drawn from its seed: readable, and the same on every machine."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any

from chaos_pod import Pace
from fakes.runpod.mischief import CREATE, DELETE, POD, READ

# What strikes often enough to be seen and seldom enough that something is left to look at.
RATES = {
    **dict.fromkeys(CREATE, 0.25),
    **dict.fromkeys(READ, 0.06),
    **dict.fromkeys(DELETE, 0.35),
    **dict.fromkeys(POD, 0.2),
}
# An undisturbed job takes about this many virtual seconds.
WHOLE_S = 700.0


@dataclass(frozen=True)
class Event:
    """at: virtual seconds since the start; kinds are the methods of chaos_account.Happenings."""

    at: float
    kind: str
    value: float = 0.0


@dataclass(frozen=True)
class DriverKill:
    """SIGKILL of the driver at a moment, or around its n-th create or delete; back after back_s
    (None: nobody starts it again)."""

    at: float = 0.0
    request: str = ""
    number: int = 1
    answered: bool = False
    back_s: float | None = 30.0


@dataclass(frozen=True)
class Schedule:
    seed: int
    market: str
    rates: dict[str, float]
    pace: Pace
    lag_s: float = 0.0
    skew_s: float = 0.0
    volatility: float = 0.0
    spot_offered: bool = True
    limit_usd: float = 17.5
    resumed_after_s: float | None = None
    events: tuple[Event, ...] = ()
    kills: tuple[DriverKill, ...] = ()
    most: int = 3

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Draw:
    """One random story."""

    chance: random.Random
    events: list[Event] = field(default_factory=list)

    def when(self, share: float = 1.6) -> float:
        return round(self.chance.uniform(0.0, share * WHOLE_S), 1)

    def maybe(self, share: float) -> bool:
        return self.chance.random() < share

    def several(self, kind: str, most: int, low: float = 0.0, high: float = 0.0) -> None:
        for _ in range(self.chance.randint(0, most)):
            value = round(self.chance.uniform(low, high), 1)
            self.events.append(Event(self.when(), kind, value))

    def rare(self, kind: str, share: float, low: float = 0.0, high: float = 0.0) -> None:
        if self.maybe(share):
            self.events.append(Event(self.when(), kind, round(self.chance.uniform(low, high), 1)))


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(f"brightrun chaos {seed}")
    d = Draw(chance)
    kinds = [kind for kind in RATES if d.maybe(0.35)]
    if not d.maybe(0.15):  # no credit ends a job at once: seldom, or nothing else is seen
        kinds = [kind for kind in kinds if kind != "balance"]
    d.several("interrupt", 3)
    d.several("kill_process", 2)
    d.several("storage_away", 2, 30.0, 480.0)
    d.rare("spot_removed", 0.15)
    d.rare("no_stock", 0.2, 60.0, 1500.0)
    d.rare("balance_empty", 0.08, 60.0, 900.0)
    d.rare("api_away", 0.15, 30.0, 500.0)
    d.rare("cancel", 0.08)
    d.rare("pause", 0.08)
    kills = []
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        back = None if d.maybe(0.1) else round(chance.choice((5, 60, 300, 1200)) * chance.random())
        if d.maybe(0.5):
            kills.append(DriverKill(at=d.when(), back_s=back))
        else:
            number, answered = chance.randint(1, 3), d.maybe(0.5)
            request = chance.choice(("POST", "DELETE"))
            kills.append(DriverKill(request=request, number=number, answered=answered, back_s=back))
    return Schedule(
        seed=seed,
        market=chance.choice(("spot", "on_demand")),
        rates={kind: RATES[kind] for kind in kinds},
        pace=Pace(
            boot=round(chance.uniform(5, 90), 1),
            load=round(chance.uniform(5, 40), 1),
            skew_s=chance.choice((0.0, 0.0, 0.0, 40.0, -40.0)),
        ),
        lag_s=chance.choice((0.0, 0.0, 5.0, 30.0)),
        skew_s=chance.choice((0.0, 0.0, 90.0, -90.0)),
        volatility=chance.choice((0.0, 0.0, 0.1)),
        spot_offered=d.maybe(0.8),
        limit_usd=0.4 if d.maybe(0.06) else 17.5,
        resumed_after_s=round(chance.uniform(30, 1500)) if d.maybe(0.5) else None,
        events=tuple(sorted(d.events, key=lambda event: event.at)),
        kills=tuple(kills),
    )
