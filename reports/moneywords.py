"""A job's money in words and rows, the same in the terminal, the cards and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brightrun.bill import Bill
from brightrun.reckoning import WITHIN, Part, Reckoning
from brightrun.verdicts import Table
from reports import formats

PARTS = {
    "boot": "start-up of the pod",
    "model_loading": "loading the model",
    "preprocessing": "preparing the data",
    "training": "training and saving",
    "measuring": "measuring",
    "finalization": "finishing",
    "interruptions": "interruptions",
    "waiting": "between stages, ending",
}


def so_far(found: Bill, facts: Mapping[str, Any]) -> str:
    """`$0.031 (notional) of $0.070 likely, $0.120 at most: compute $0.030, boot $0.001`."""
    said = formats.usd(float(found.usd)) + (" (notional)" if found.notional and found.pods else "")
    if cost := facts.get("cost_usd"):
        said += f" of {formats.usd(cost['likely'])} likely, {formats.usd(cost['high'])} at most"
    parts = [f"{line.name} {formats.usd(float(line.usd))}" for line in found.lines if line.usd]
    return f"{said}: {', '.join(parts)}" if parts else said


def against(found: Reckoning) -> str:
    """`$0.081 against $0.070 estimated, +15.7%: outside ±15%`."""
    said = (
        f"{formats.usd(float(found.actual_usd))} against "
        f"{formats.usd(float(found.estimate_usd))} estimated"
    )
    if found.off is None:
        return said
    where = "inside" if found.within else "outside"
    return f"{said}, {formats.percent(found.off, signed=True)}: {where} ±{WITHIN:.0%}"


def cost_table(found: Reckoning) -> Table:
    """Part, likely estimate, actual, how far off; the last row is the job."""
    rows = [row(PARTS[part.name], part) for part in found.parts]
    total = Part(
        name="total",
        estimate_usd=found.estimate_usd,
        actual_usd=found.actual_usd,
        off=found.off,
    )
    return Table(
        columns=("Part", "Estimate $", "Actual $", "Off"),
        rows=(*rows, row("total", total)),
        caption="Cost by part: likely estimate and actual",
    )


def row(name: str, part: Part) -> tuple[str, float, float, float | None]:
    return (name, float(part.estimate_usd), float(part.actual_usd), part.off)
