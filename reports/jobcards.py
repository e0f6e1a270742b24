"""Cards of a running job for the Prefect UI: estimate, all markets, progress, loss. Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from brightrun import losses
from brightrun.counting import count
from brightrun.progress import Progress
from brightrun.verdicts import CurvePoint, Table
from reports import cards, formats

# What the gate would do, in words.
GATE = {
    "pass": "passes by policy",
    "confirm": "asks for a confirmation",
    "approve": "needs an approval (`brightrun approve`)",
}
_MARKET = ("Market", "Likely cost", "Low to high", "Pod time", "To report")


def estimate_card(facts: dict[str, Any], revised: dict[str, Any] | None = None) -> str:
    """The estimate with the markets side by side; `revised` stands first, once it is known."""
    said = f"{revised_sentence(revised)}. The first estimate: " if revised else ""
    said += (
        f"{count(facts['steps'], 'step')}, {facts['tokens_per_epoch']:,} tokens per epoch, "
        f"memory {facts['vram_gb']:.1f} GB ({'fits' if facts['fits'] else 'DOES NOT FIT'}), "
        f"from {facts['basis']}; stopped by itself at {formats.usd(facts['hard_limit_usd'])}. "
        f"{_prices(facts['markets'])}"
        f"{''.join(f' {line}.' for line in market_sentences(facts))}"
        f"{''.join(f' {line}.' for line in baseline_lines(facts))}"
    )
    rows = tuple(_market(row) for row in facts["markets"])
    return cards.estimate(Table(columns=_MARKET, rows=rows), warnings=facts["warnings"], note=said)


def baseline_lines(facts: dict[str, Any]) -> list[str]:
    """What is known of the baseline before anyone pays."""
    lines = (facts.get("known_baseline", ""), *facts.get("attainable", ()))
    return [line for line in lines if line]


def market_sentences(facts: dict[str, Any]) -> list[str]:
    """Interruptions by market with the pod hours behind them, and which market is recommended."""
    lines, offered = [], [row for row in facts["markets"] if row["offered"]]
    known = [(row["market"], row.get("interruptions_per_hour", {})) for row in offered]
    said = [
        f"{market} {rate['likely']:.1%} ({rate['low']:.1%} to {rate['high']:.1%}; "
        f"{count(rate['losses'], 'loss', 'losses')} in {rate['hours']:g} pod hours seen)"
        for market, rate in known
        if rate.get("high")
    ]
    if said:
        lines.append(f"Interruptions per hour: {', '.join(said)}")
    advised = facts.get("recommendation")
    if advised and (len(offered) > 1 or advised["in_time"] is not None):
        lines.append(f"Recommended: {advised['why']}")
    return lines


def estimate_sentence(facts: dict[str, Any]) -> str:
    """The estimate in one line, for the log and the head of the gate's form."""
    cost, hours = facts["cost_usd"], facts["hours"]
    return (
        f"Estimate: {formats.usd(cost['likely'])} likely "
        f"({formats.usd(cost['low'])} to {formats.usd(cost['high'])}), "
        f"{formats.duration(hours['likely'] * 3600)} on the pod "
        f"({formats.duration(hours['low'] * 3600)} to {formats.duration(hours['high'] * 3600)}), "
        f"report in about {formats.duration(facts['turnaround_h'] * 3600)}, "
        f"{facts['market']} at {formats.usd(facts['price']['usd_per_hour'])} per hour"
    )


def revised_sentence(found: dict[str, Any]) -> str:
    """Duration and cost after the pod has measured its own speed."""
    cost, hours = found["cost_usd"], found["hours"]
    return (
        f"Revised after {count(found['steps'], 'micro-step')}: "
        f"{formats.usd(cost['likely'])} likely "
        f"({formats.usd(cost['low'])} to {formats.usd(cost['high'])}), "
        f"{formats.duration(hours['likely'] * 3600)} on the pod "
        f"({formats.duration(hours['low'] * 3600)} to {formats.duration(hours['high'] * 3600)})"
    )


def gate_card(facts: dict[str, Any], question: dict[str, Any]) -> str:
    """What stands above the form at the gate: narrow, because the form's window is."""
    lines = [
        estimate_sentence(facts),
        *baseline_lines(facts),
        f"{count(facts['steps'], 'step')}, memory {facts['vram_gb']:.1f} GB "
        f"({'fits' if facts['fits'] else 'DOES NOT FIT'}), "
        f"stopped by itself at {formats.usd(facts['hard_limit_usd'])}",
        *market_sentences(facts),
        *(f"Retry with {change}" for change in question.get("differs", ())),
        *(f"Why you are asked: {reason}" for reason in question["reasons"]),
        *(f"Warning: {w}" for w in (*question["warnings"], *facts["warnings"])),
    ]
    if "budget" in question:
        lines.append(budget_sentence(question["budget"]))
    shown = tuple(
        (
            row["market"],
            formats.usd(row["cost_usd"]["likely"]) if row["offered"] else "not offered",
            formats.duration(row["hours"]["likely"] * 3600) if row["offered"] else "",
        )
        for row in facts["markets"]
    )
    told = "".join(f"- {cards.text(line)}\n" for line in lines)
    markets = Table(columns=("Market", "Likely", "Time"), rows=shown)
    return f"{told}\n{cards.table(markets)}"


def failure_card(job_id: str, error: dict[str, Any], suggested: Sequence[str], again: str) -> str:
    """An ended job's error, what it suggests, and the commands that go on or try again."""
    page = f" (docs/errors.md, {error['fault']})" if error.get("fault") else ""
    told = [
        f"**{cards.text(error['message'])}**{page}",
        *(f"Likely cause: {cards.text(error['cause'])}" for _ in "1" if error.get("cause")),
        *(f"Fix: {cards.text(error['fix'])}" for _ in "1" if error.get("fix")),
        *(f"Suggested: {cards.text(change)}" for change in suggested),
        f"Go on where it stopped: `brightrun train --resume {job_id}`, or the form **resume**",
        f"Try again as a new job: `{again}`, or the form **retry**",
    ]
    return "\n\n".join(told)


def budget_sentence(month: dict[str, Any]) -> str:
    """A month's budget in one line (`BudgetState.as_json`)."""
    return (
        f"Budget {month['month']}: {formats.usd(month['left'])} of "
        f"{formats.usd(month['limit'])} left, {formats.usd(month['spent'])} spent, "
        f"{formats.usd(month['committed'])} committed"
    )


def markets_card(training_file: str, rows: Sequence[dict[str, Any]], month: dict[str, Any]) -> str:
    """Every preset on every provider and market, with the gate's word; the month's budget.

    Six columns: Prefect cuts off what does not fit beside its side bar.
    """
    shown = tuple(
        (f"{row['provider']} {row['market']}", row["preset"], cost, spread, total, row["gate"])
        for row in rows
        for _, cost, spread, _, total in [_market(row)]
    )
    models = dict.fromkeys(f"{row['provider']} {row['model']}" for row in rows)
    note = (
        f"File {training_file}. Base models: {', '.join(models)}. Nothing was started. "
        f"{budget_sentence(month)}. {_prices(rows)}"
    )
    columns = ("Market", "Preset", "Likely cost", "Low to high", "To report", "Gate")
    return cards.estimate(Table(columns=columns, rows=shown), note=note)


def progress_card(state: Progress, money: str, ended: str = "") -> str:
    """Stages with estimate and elapsed, step, loss; money: `moneywords.so_far`; ended: how the job
    ended, in words."""
    rows = tuple(
        (
            s.name,
            s.status,
            f"{_at_least_0(s.fraction):.0%}",
            formats.duration(_at_least_0(s.expected_s)),
            formats.duration(_at_least_0(s.elapsed_s)) if s.elapsed_s else "",
        )
        for s in state.stages
    )
    columns = ("Stage", "Status", "Done", "Estimated", "Elapsed")
    left = "0 s" if ended else f"about {formats.duration(_at_least_0(state.remaining_s))}"
    facts = [
        *([ended] if ended else []),
        f"{_at_least_0(state.fraction):.0%} done, {left} left",
        f"cost so far {money}",
    ]
    if state.total_steps:
        epoch = formats.number(_at_least_0(state.epoch), 2)
        facts.append(f"step {state.step} of {state.total_steps}, epoch {epoch}")
    if state.loss is not None and math.isfinite(state.loss):
        facts.append(f"loss {state.loss:.3f}, rate {_at_least_0(state.learning_rate or 0):.1e}")
    if state.interruptions:
        facts.append(losses.counted(state.interruptions, state.resumed))
    lines = "".join(f"- {cards.text(fact)}\n" for fact in facts)
    return f"## Progress\n\n{lines}\n{cards.table(Table(columns=columns, rows=rows))}"


def loss_card(state: Progress) -> str:
    """The loss curve so far, with the validation losses at their steps."""
    checks = {step: loss for step, loss in state.validation_losses if math.isfinite(loss)}
    points = tuple(
        CurvePoint(step=s, epoch=0.0, loss=v, learning_rate=0.0, validation_loss=checks.get(s))
        for s, v in state.losses
        if math.isfinite(v)
    )
    return cards.loss_curve(points)


def _at_least_0(value: float) -> float:
    """A clock that was set back, or a loss that broke, must not show as a negative or a NaN."""
    return max(0.0, value) if math.isfinite(value) else 0.0


def _market(row: dict[str, Any]) -> tuple[str, ...]:
    if not row["offered"]:
        return (row["market"], "not offered", "", "", "")
    cost, hours = row["cost_usd"], row["hours"]
    return (
        row["market"],
        formats.usd(cost["likely"]),
        f"{formats.usd(cost['low'])} to {formats.usd(cost['high'])}",
        formats.duration(hours["likely"] * 3600),
        formats.duration(row["turnaround_h"] * 3600),
    )


def _prices(rows: Sequence[dict[str, Any]]) -> str:
    """Each price with its source and date; why a market is not offered. Each once."""
    said = [
        f"{row.get('provider', '')} {row['market']} "
        + (
            f"{formats.usd(row['price']['usd_per_hour'])} per hour "
            f"({row['price']['source']}, {row['price']['as_of']})"
            if row["offered"]
            else row["note"]
        )
        for row in rows
    ]
    return f"Prices: {'; '.join(dict.fromkeys(line.strip() for line in said))}."
