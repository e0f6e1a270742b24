"""Actual against estimated cost, part by part, after (or during) a job. Pure.

    reckon(pieces, facts) -> Reckoning; facts is the estimate's JSON (`Estimate.as_json`)

A part's estimate is its likely seconds at the estimated price. What an interruption makes a pod do
a second time (boot, loading, preprocessing) and the work that was lost count as interruptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from brightrun.bill import Piece
from brightrun.frozen import Frozen
from brightrun.money import to_usd
from brightrun.spans import BOOT, LOST, STARTING

WITHIN = Decimal("0.15")  # of the likely estimate: what a job's cost is announced with
MICRO_PLACES = Decimal("0.000001")
# Part of the comparison -> parts of the estimate that it is compared with.
ESTIMATED = {
    "boot": ("boot",),
    "model_loading": ("model_loading",),
    "preprocessing": ("preprocessing",),
    "training": ("training", "saving"),
    "measuring": ("measuring",),
    "finalization": ("finalization",),
    "interruptions": ("interruptions",),
    "waiting": (),
}
AGAIN = (BOOT, STARTING, "model_loading", "preprocessing")


class Part(Frozen):
    """Dollars; off: actual over estimate less 1, None where nothing was estimated."""

    name: str
    estimate_usd: Decimal
    actual_usd: Decimal
    off: float | None


class Reckoning(Frozen):
    """A job's cost against its likely estimate; the actual parts sum to the actual cost exactly.

    within: whether that is inside +-15 % of the likely estimate; high_usd: the estimate's high end.
    """

    parts: tuple[Part, ...]
    estimate_usd: Decimal
    high_usd: Decimal
    actual_usd: Decimal
    off: float | None
    within: bool

    def as_json(self) -> dict[str, Any]:
        """{estimate_usd, high_usd, actual_usd, off, within_15pct, parts: [...]}."""
        return {
            "estimate_usd": float(self.estimate_usd),
            "high_usd": float(self.high_usd),
            "actual_usd": float(self.actual_usd),
            "off": self.off,
            "within_15pct": self.within,
            "parts": [
                {
                    "part": part.name,
                    "estimate_usd": float(part.estimate_usd),
                    "actual_usd": float(part.actual_usd),
                    "off": part.off,
                }
                for part in self.parts
            ],
        }


def reckon(found: Sequence[Piece], facts: Mapping[str, Any]) -> Reckoning:
    """found: of all the job's pods (`bill.pieces`); facts: with parts, price and cost_usd."""
    actual = dict.fromkeys(ESTIMATED, 0)
    for piece in found:
        actual[part_of_job(piece, first=found[0].attempt)] += piece.micro
    likely = {name: estimated(facts, names) for name, names in ESTIMATED.items()}
    total = Decimal(str(facts["cost_usd"]["likely"]))
    parts = [
        Part(
            name=name,
            estimate_usd=likely[name],
            actual_usd=to_usd(micro),
            off=off(to_usd(micro), likely[name]),
        )
        for name, micro in actual.items()
        if micro or likely[name]
    ]
    whole = to_usd(sum(actual.values()))
    return Reckoning(
        parts=tuple(parts),
        estimate_usd=total,
        high_usd=Decimal(str(facts["cost_usd"]["high"])),
        actual_usd=whole,
        off=off(whole, total),
        within=total > 0 and abs(whole - total) <= WITHIN * total,
    )


def estimated(facts: Mapping[str, Any], names: Sequence[str]) -> Decimal:
    """Likely dollars of some parts of the estimate, to the micro-dollar."""
    seconds = sum(Decimal(str(facts["parts"][n]["likely"])) for n in names if n in facts["parts"])
    usd = seconds * Decimal(str(facts["price"]["usd_per_hour"])) / 3600
    return usd.quantize(MICRO_PLACES, rounding=ROUND_HALF_UP)


def part_of_job(piece: Piece, first: int) -> str:
    """The part of the comparison that a piece of a pod's bill belongs to."""
    if piece.what == LOST or (piece.attempt != first and piece.what in AGAIN):
        return "interruptions"
    if piece.what == STARTING:
        return "boot"
    return piece.what if piece.what in ESTIMATED else "waiting"


def off(actual: Decimal, estimate: Decimal) -> float | None:
    """Actual over estimate less 1: 0.12 = 12 % dearer."""
    return round(float(actual / estimate) - 1, 6) if estimate > 0 else None
