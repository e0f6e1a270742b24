"""A full job and a small one, machines and prices, for what an estimate says of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from brightrun.costs import LLAMA_3_70B, Estimate, Work, estimate, machine_of
from brightrun.jobs import PRESETS, Hyperparameters, Market, Preset
from brightrun.prices import CPU, H100_PCIE, choose, offers
from brightrun.settings import Settings
from simulation.forecasts import FULL_FILE as FULL

SMALL = replace(FULL, train_tokens=12_000, sum_squared_tokens=12_000 * 600, sequences=20, epochs=2)
BALANCED = PRESETS[Preset.balanced].values
PCIE, CPU2 = machine_of(H100_PCIE), machine_of(CPU, 2)
SETTINGS = Settings(local_usd_per_hour=Decimal("0.50"))
DEMAND, _ = choose(offers("runpod", "", SETTINGS), Market.on_demand)
HERE, _ = choose(offers("local", "", SETTINGS), Market.on_demand)


def on_h100(work: Work = FULL, values: Hyperparameters = BALANCED, **extra: object) -> Estimate:
    return estimate(work, PCIE, LLAMA_3_70B, values, DEMAND, **extra)  # type: ignore[arg-type]
