"""What a job costs, before a cent is spent. Pure: values in, values out.

    estimate(work, machine, model, values, price, observed) -> Estimate

Physics (`physics`) is the first guess; what past jobs on the same machine really took (`Observed`)
replaces it part by part and narrows the range (`brightrun.remembered`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from brightrun import crowding, remembered
from brightrun.costrange import CostRange, hard_limit
from brightrun.durations import (
    PARTS,
    Observed,
    Part,
    Work,
    checkpoint_interval,
    interruptions,
    one_interruption,
    saving,
    units,
)
from brightrun.footprint import peak_gb
from brightrun.jobs import Hyperparameters, Market
from brightrun.markets import STEADY, Rate, hourly_rate
from brightrun.physics import (
    LLAMA_3_70B,
    Machine,
    ModelProfile,
    Range,
    exactly,
    machine_of,
)
from brightrun.prices import Price

__all__ = [
    "LLAMA_3_70B",
    "Estimate",
    "Machine",
    "ModelProfile",
    "Observed",
    "Range",
    "Work",
    "checkpoint_interval",
    "estimate",
    "machine_of",
    "units",
]

CONTROL_PLANE = Range(30.0, 90.0, 240.0)  # validate, evaluate, report, package: a guess, no pod
LONG_TURNAROUND_H = 24.0
STARTING: tuple[Part, ...] = ("boot", "preprocessing", "model_loading")


@dataclass(frozen=True, slots=True)
class Estimate:
    """Pod hours and dollars; turnaround_h adds the control plane's stages. parts: seconds; their
    bounds are each one's own, and add up to more than those of hours (`learning.whole`).

    rate: interruptions an hour; interruption: seconds that one of them costs.
    """

    tokens_per_epoch: int
    supervised_tokens: int
    steps: int
    hours: Range
    cost_usd: CostRange
    turnaround_h: float
    vram_gb: float
    fits: bool
    price: Price
    warnings: tuple[str, ...]
    parts: dict[Part, Range]
    hard_limit_usd: Decimal
    checkpoint_every: int
    basis: str
    rate: Rate
    interruption: Range

    @property
    def first_step_s(self) -> dict[str, float]:
        """Seconds from renting a pod to its first step: warm = image and model are near (the likely
        end of boot and loading), cold = both are fetched (their high end)."""
        begin = [self.parts[name] for name in STARTING if name in self.parts]
        return {
            "warm": round(sum(part.likely for part in begin), 1),
            "cold": round(sum(part.high for part in begin), 1),
        }

    def as_json(self) -> dict[str, Any]:
        """The shape of `brightrun estimate --json`, plus parts and how it was found."""
        return {
            "tokens_per_epoch": self.tokens_per_epoch,
            "supervised_tokens": self.supervised_tokens,
            "steps": self.steps,
            "hours": self.hours.as_json(),
            "cost_usd": self.cost_usd.as_json(),
            "turnaround_h": round(self.turnaround_h, 4),
            "vram_gb": round(self.vram_gb, 1),
            "fits": self.fits,
            "price": self.price.as_json(),
            "warnings": list(self.warnings),
            "gpu": self.price.gpu,
            "market": str(self.price.market),
            "tail_usd": round(float(self.cost_usd.most), 4),
            "hard_limit_usd": float(self.hard_limit_usd),
            "checkpoint_every": self.checkpoint_every,
            "basis": self.basis,
            "interruptions_per_hour": self.rate.as_json(),
            "interruption_s": self.interruption.as_json(1),
            "first_step_s": self.first_step_s,
            "parts": {name: part.as_json(1) for name, part in self.parts.items()},
        }


def estimate(
    work: Work,
    machine: Machine,
    model: ModelProfile,
    values: Hyperparameters,
    price: Price,
    observed: Sequence[Observed] = (),
    *,
    budget_left: Decimal | None = None,
    users_hours: str = "",
    warn_above_usd: Decimal = Decimal(100),
    rates: Mapping[Market, Rate] | None = None,
) -> Estimate:
    """Time, memory and dollars of a job; `users_hours` is the preset's own claim ("12-15 h").

    rates: what is known of interruptions; markets that are not in it have their prior.
    """
    known = remembered.expected(work, machine, model, values, observed)
    parts = dict(known.parts)
    every = checkpoint_interval(values, work.steps, parts["training"].likely / max(1, work.steps))
    # What past jobs took to train has their saves in it.
    learned = "training" in known.learned
    parts["saving"] = exactly(0.0) if learned else saving(work, model, values, every)
    loss = one_interruption(work, machine, parts, every)
    rate = rate_of(machine, price.market, rates or {})
    done = known.whole + parts["saving"]
    parts["interruptions"] = interruptions(work, rate.per_hour, done, loss)
    parts = {name: parts[name] for name in PARTS}

    seconds = done + parts["interruptions"]
    hours = seconds.times(1 / 3600)
    longest = replace(done, high=known.tail + parts["saving"].high)
    tail = longest.high + interruptions(work, rate.per_hour, longest, loss).high
    cost = CostRange.of(hours, price.usd_per_hour, tail / 3600)
    vram = peak_gb(
        model,
        machine,
        precision=values.precision,
        lora_r=values.lora_r,
        longest=work.longest,
        micro_batch=work.micro_batch,
        may_recompute=values.gradient_checkpointing,
    )
    fits = machine.memory_gb is None or vram <= machine.memory_gb
    turnaround = (seconds.likely + CONTROL_PLANE.likely) / 3600
    found = Estimate(
        tokens_per_epoch=work.train_tokens,
        supervised_tokens=work.supervised_tokens,
        steps=work.steps,
        hours=hours,
        cost_usd=cost,
        turnaround_h=turnaround,
        vram_gb=vram,
        fits=fits,
        price=price,
        warnings=(),
        parts=parts,
        hard_limit_usd=hard_limit(cost, budget_left, price.usd_per_hour),
        checkpoint_every=every,
        basis=remembered.basis(machine, known.seen),
        rate=rate,
        interruption=loss,
    )
    notes = warnings(found, model, machine, work, users_hours, warn_above_usd)
    return replace(found, warnings=notes)


def rate_of(machine: Machine, market: Market, rates: Mapping[Market, Rate]) -> Rate:
    """Interruptions an hour; a local machine is not taken away."""
    return rates.get(market) or hourly_rate(market) if machine.is_gpu else STEADY


def warnings(
    found: Estimate,
    model: ModelProfile,
    machine: Machine,
    work: Work,
    users_hours: str,
    warn_above_usd: Decimal,
) -> tuple[str, ...]:
    """What a person should know before agreeing, most expensive first."""
    said = []
    cost, hours = found.cost_usd, found.hours
    if not found.fits:
        said.append(
            f"does not fit: about {found.vram_gb:.0f} GB of {machine.memory_gb:.0f} GB on "
            f"{machine.name} for a sequence of {work.longest:,} tokens; "
            "lower max_length or lora_r, use precision nf4 and gradient_checkpointing"
        )
    if cost.high > warn_above_usd:
        said.append(
            f"may cost ${cost.high:,.2f} (likely ${cost.likely:,.2f}), above ${warn_above_usd:,.0f}"
        )
    if found.turnaround_h > LONG_TURNAROUND_H:
        said.append(
            f"{found.turnaround_h:.0f} h from start to report, above {LONG_TURNAROUND_H:.0f} h"
        )
    if not found.price.offered:
        said.append(f"{found.price.market}: {found.price.note}")
    elif found.price.note:
        said.append(f"price: {found.price.note}")
    said.extend(crowding.told(machine.free))
    claim = hours_claimed(users_hours)
    if claim is not None and not claim[0] <= hours.likely <= claim[1]:
        likely = f"{hours.likely:,.0f}" if hours.likely >= 10 else f"{hours.likely:.2g}"
        said.append(
            f"{users_hours} were planned, {likely} h are expected: "
            + _reason(found, model, machine, work)
        )
    return tuple(said)


def hours_claimed(text: str) -> tuple[float, float] | None:
    """ "12-15 h" -> (12.0, 15.0); anything else -> None."""
    match = re.fullmatch(r"\s*([\d.]+)\s*-\s*([\d.]+)\s*h\s*", text)
    return (float(match[1]), float(match[2])) if match else None


def _reason(found: Estimate, model: ModelProfile, machine: Machine, work: Work) -> str:
    if model.name != LLAMA_3_70B.name or not machine.is_gpu:
        return f"the plan is for Llama-3-70B on an H100, this is {model.name} on {machine.name}"
    rate = work.train_tokens * work.epochs / max(1e-9, found.parts["training"].likely)
    parts = {name: part.likely for name, part in found.parts.items()}
    least = sum(parts.values()) / 100
    others = ", ".join(
        f"{name.replace('_', ' ')} {about(seconds)}"
        for name, seconds in sorted(parts.items(), key=lambda part: -part[1])
        if name != "training" and seconds >= least
    )
    return (
        f"training {about(parts['training'])} ({work.train_tokens:,} tokens x {work.epochs} epochs "
        f"at {rate:,.0f} tokens/s, {found.basis}, one sequence per conversation), {others}"
    )


def about(seconds: float) -> str:
    """1.7 min, 2.5 h."""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
