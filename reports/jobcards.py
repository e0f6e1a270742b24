"""Cards of a running job for the Prefect UI: estimate, all markets, progress, loss. Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brightrun.progress import Progress
from brightrun.verdicts import CurvePoint, Table
from reports import cards, formats


def estimate_card(facts: dict[str, Any]) -> str:
    """The estimate with the markets side by side."""
    columns = ("Market", "Price per hour", "Low", "Likely", "High", "To report", "Price from")
    spread = facts["hours"]
    said = (
        f"Likely {formats.duration(spread['likely'] * 3600)} "
        f"({formats.duration(spread['low'] * 3600)} to {formats.duration(spread['high'] * 3600)}), "
        f"{facts['steps']} steps, {facts['tokens_per_epoch']:,} tokens per epoch, "
        f"memory {facts['vram_gb']:.1f} GB ({'fits' if facts['fits'] else 'DOES NOT FIT'}), "
        f"from {facts['basis']}; stopped by itself at {formats.usd(facts['hard_limit_usd'])}."
    )
    rows = tuple(_market(row) for row in facts["markets"])
    return cards.estimate(Table(columns=columns, rows=rows), warnings=facts["warnings"], note=said)


def markets_card(training_file: str, rows: Sequence[dict[str, Any]]) -> str:
    """Every preset on every provider and market."""
    columns = ("Provider", "Preset", "Market", "Price per hour", "Low", "Likely", "High",
               "To report", "Price from")  # fmt: skip
    shown = tuple((row["provider"], row["preset"], *_market(row)) for row in rows)
    note = f"File {training_file}. Cost is low / likely / high of the pod; nothing was started."
    return cards.estimate(Table(columns=columns, rows=shown), note=note)


def progress_card(state: Progress, cost_usd: float) -> str:
    """Stages with estimate and elapsed, step, loss and cost so far."""
    rows = tuple(
        (
            s.name,
            s.status,
            f"{s.fraction:.0%}",
            formats.duration(s.expected_s),
            formats.duration(s.elapsed_s) if s.elapsed_s else "",
        )
        for s in state.stages
    )
    columns = ("Stage", "Status", "Done", "Estimated", "Elapsed")
    facts = [
        f"{state.fraction:.0%} done, about {formats.duration(state.remaining_s)} left",
        f"step {state.step} of {state.total_steps}, epoch {state.epoch:.2f}",
        f"cost so far {formats.usd(cost_usd)}",
    ]
    if state.loss is not None:
        facts.append(f"loss {state.loss:.3f}, rate {state.learning_rate or 0:.1e}")
    if state.interruptions:
        facts.append(f"interrupted {state.interruptions}x, resumed")
    lines = "".join(f"- {cards.text(fact)}\n" for fact in facts)
    return f"## Progress\n\n{lines}\n{cards.table(Table(columns=columns, rows=rows))}"


def loss_card(state: Progress) -> str:
    """The loss curve so far, with the validation losses at their steps."""
    checks = dict(state.validation_losses)
    points = tuple(
        CurvePoint(step=s, epoch=0.0, loss=v, learning_rate=0.0, validation_loss=checks.get(s))
        for s, v in state.losses
    )
    return cards.loss_curve(points)


def _market(row: dict[str, Any]) -> tuple[str, ...]:
    price = row["price"]
    source = f"{price['source']}, {price['as_of']}"
    if not row["offered"]:
        return (row["market"], "not offered", "", "", "", "", row["note"])
    cost, hours = row["cost_usd"], row["hours"]
    spread = [
        f"{formats.usd(cost[k])} / {formats.duration(hours[k] * 3600)}"
        for k in ("low", "likely", "high")
    ]
    to_report = formats.duration(row["turnaround_h"] * 3600)
    return (row["market"], formats.usd(price["usd_per_hour"]), *spread, to_report, source)
