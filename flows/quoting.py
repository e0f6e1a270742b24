"""The estimate as the terminal shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from brightrun import budget, ownmachine, prices, pricing, quotes
from brightrun.budget import BudgetState, Limits
from brightrun.conversations import FileReport
from brightrun.counting import count
from brightrun.jobs import Hyperparameters, apply_overrides, preset_of
from brightrun.ledger import Ledger
from brightrun.prices import CPU
from brightrun.quotes import Quote
from brightrun.settings import Settings, load
from flows.terminal import money, say, span, table, tell
from reports import jobcards


def provider_for(gpu: str, provider: str, given: bool) -> tuple[str, tuple[str, ...]]:
    """Who rents it out, and a note if that is not who stands there by default.

    UsageError: this machine was named by the person, and it has no such GPU.
    """
    if given or ownmachine.has(gpu):
        ownmachine.require(provider, gpu)
        return provider, ()
    name = prices.gpu_name(gpu, "runpod")
    return "runpod", (f"there is no {name} in this machine: this is RunPod's, --provider runpod",)


def values_of(preset: str, overrides: dict[str, Any]) -> Hyperparameters:
    """The preset with `--set` laid over it."""
    return apply_overrides(preset_of(preset).values, overrides)


def quote(
    report: FileReport,
    values: Hyperparameters,
    preset: str,
    provider: str,
    gpu: str,
    market: str,
    base_model: str,
    ledger: Ledger | None,
    state: BudgetState,
) -> Quote:
    """Price a validated file; observations come from the ledger when there is one."""
    settings = load()
    model = quotes.model_for(base_model, provider, settings)
    return pricing.priced(
        quotes.work_of(report, values),
        values,
        model,
        preset=preset,
        provider=provider,
        gpu=gpu,
        market=market,
        settings=settings,
        ledger=ledger,
        budget_left=state.left,
        notes=(
            *quotes.notes_of(report),
            *quotes.unprepared(base_model, provider, settings),
        ),
    )


def advice(found: Quote, needed_by: datetime | None) -> dict[str, Any]:
    """Which market to take for a report by then (a time of this machine's zone)."""
    date = needed_by.astimezone() if needed_by else None
    return found.recommendation(datetime.now(UTC).astimezone(), date).as_json()


def ledger_if_any(settings: Settings) -> Ledger | None:
    """An estimate writes nothing: no ledger is made for it."""
    known = settings.database_url is not None or (settings.home / "ledger.db").exists()
    return Ledger.open(settings) if known else None


def month(ledger: Ledger | None) -> BudgetState:
    """The budget of this month as the gate would see it now."""
    settings, now = load(), datetime.now(UTC)
    return ledger.budget_state(now) if ledger else budget.unspent(settings, now)


def limits(ledger: Ledger | None, preset: str, provider: str) -> Limits:
    """Those of a job without a client."""
    return ledger.limits_for("", preset, provider) if ledger else Limits.of(load())


def show_budget(facts: dict[str, Any]) -> None:
    """Spent and left this month, and what the gate would say."""
    tell(jobcards.budget_sentence(facts))
    decision = facts["gate"]
    tell(f"Gate: {jobcards.GATE[decision['action']]}")
    for reason in decision["reasons"]:
        tell(f"  {reason}")
    for warning in decision["warnings"]:
        say(f"  Warning: {warning}", "yellow")


def show(found: Quote, report: FileReport, advised: dict[str, Any]) -> None:
    """Markets below each other with low, likely and high, then the chosen one in words."""
    rows: list[tuple[str, ...]] = []
    for row in found.markets:
        name = row.market.replace("_", "-")
        if row.estimate is None:
            rows.append((name, "not offered", "-", "-", "-", "-"))
            continue
        h, c = row.estimate.hours, row.estimate.cost_usd
        price = f"{money(float(row.price.usd_per_hour))}/h"
        for which in ("low", "likely", "high"):
            first = which == "low"
            rows.append(
                (
                    name if first else "",
                    price if first else "",
                    which,
                    span(getattr(h, which) * 3600),
                    money(float(getattr(c, which))),
                    span(row.estimate.turnaround_h * 3600) if which == "likely" else "",
                )
            )
    columns = ("market", "price", "", "pod time", "cost", "to report")
    table(f"Estimate for {report.name}", columns, rows, keep=columns)
    e = found.estimate
    exact = "" if report.tokens_exact else " (approximate)"
    tell(
        f"{e.tokens_per_epoch:,} tokens per epoch{exact}, {e.supervised_tokens:,} supervised, "
        f"{count(e.steps, 'step')}; memory {e.vram_gb:.1f} GB "
        f"({'fits' if e.fits else 'DOES NOT FIT'}); from {e.basis}"
    )
    tell(f"Price: {e.price.source}, {e.price.as_of}; stopped by itself at "
         f"{money(float(e.hard_limit_usd))}")  # fmt: skip
    start = e.first_step_s
    if e.price.gpu != CPU:
        tell(
            f"First step about {span(start['warm'])} after a pod is rented, with image and model "
            f"at hand; up to {span(start['cold'])} when both are fetched"
        )
    facts = {**found.as_json(), "recommendation": advised}
    for sentence in jobcards.market_sentences(facts):
        tell(sentence)
    for warning in facts["warnings"]:
        say(f"Warning: {warning}", "yellow")
