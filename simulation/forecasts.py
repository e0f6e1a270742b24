"""What the pipeline knows before and during a job: the real estimate, fed with a job's length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import cache

from brightrun.costs import Estimate, estimate
from brightrun.durations import Observed, Work, units
from brightrun.jobs import PRESETS, Market, Preset
from brightrun.markets import Rate
from brightrun.physics import LLAMA_3_70B, machine_of
from brightrun.prices import H100_PCIE, Price
from simulation.world import HOUR, price_of

# About 1,600 pairs, as in the user's full file (DOMAIN.md 2); `times` multiplies its tokens.
FULL_FILE = Work(
    train_tokens=500_000,
    sum_squared_tokens=500_000 * 2_600,
    supervised_tokens=330_000,
    sequences=206,
    longest=4_400,
    epochs=3,
    steps=120,
    validation_tokens=90_000,
    evaluations=4,
    scenarios=50,
    questions=100,
    rotations=4,
    max_new_tokens=512,
)
MACHINE, VALUES = machine_of(H100_PCIE), PRESETS[Preset.balanced].values
MARKET_DAY = date(2026, 11, 22)
PAST_SPEEDS = (0.95, 1.0, 1.05)


@cache
def of_length(hours: float) -> Work:
    """Work that likely takes so many undisturbed hours (within 2 %)."""
    more = 1.0
    for _ in range(4):
        parts = estimate(times(more), MACHINE, LLAMA_3_70B, VALUES, priced(Market.on_demand)).parts
        took = sum(part.likely for name, part in parts.items() if name != "interruptions")
        more = max(0.1, more + (hours * HOUR - took) / whole().parts["training"].likely)
    return times(more)


def times(more: float) -> Work:
    """The full file with so many times its tokens."""
    return replace(
        FULL_FILE,
        train_tokens=round(FULL_FILE.train_tokens * more),
        sum_squared_tokens=round(FULL_FILE.sum_squared_tokens * more),
        sequences=max(1, round(FULL_FILE.sequences * more)),
        steps=max(10, round(FULL_FILE.steps * more)),
    )


@cache
def whole() -> Estimate:
    """Of the full file, on demand."""
    return estimate(FULL_FILE, MACHINE, LLAMA_3_70B, VALUES, priced(Market.on_demand))


def priced(market: Market) -> Price:
    return Price(H100_PCIE, market, price_of(market), "simulation/times.toml", MARKET_DAY)


@cache
def history() -> tuple[Observed, ...]:
    """Three past jobs, so that the range is that of a pipeline in use, not of its first job."""
    sizes = units(FULL_FILE, MACHINE, LLAMA_3_70B, VALUES)
    took = {"training": whole().parts["training"], "measuring": whole().parts["measuring"]}
    return tuple(
        Observed(
            MACHINE.key, LLAMA_3_70B.name, VALUES.precision, part, sizes[part],
            took[part].likely * speed,
        )
        for part in took
        for speed in PAST_SPEEDS
    )  # fmt: skip


def forecast(hours: float, market: Market, rates: Mapping[Market, Rate]) -> Estimate:
    """The estimate as the gate would show it, no month's budget in the way."""
    work = of_length(round(hours, 1))
    return estimate(work, MACHINE, LLAMA_3_70B, VALUES, priced(market), history(), rates=rates)
