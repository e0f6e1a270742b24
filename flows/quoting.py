"""The estimate as the terminal shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from brightrun import quotes
from brightrun.conversations import FileReport
from brightrun.jobs import Hyperparameters, apply_overrides, preset_of
from brightrun.ledger import Ledger
from brightrun.quotes import Quote
from brightrun.settings import load
from flows.terminal import OUT, money, say, span, table


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
) -> Quote:
    """Price a validated file; reads history and budget from the ledger when there is one."""
    settings = load()
    model = quotes.model_for(base_model, provider, settings)
    machine = quotes.machine_for(provider, gpu, settings)
    known = settings.database_url is not None or (settings.home / "ledger.db").exists()
    ledger = Ledger.open(settings) if known else None
    return quotes.quote(
        quotes.work_of(report, values),
        values,
        model,
        provider=provider,
        gpu=gpu,
        market=market,
        settings=settings,
        observed=ledger.observed(machine.key, model.name) if ledger else (),
        budget_left=ledger.budget_state(datetime.now(UTC)).left if ledger else None,
        users_hours=preset_of(preset).users_hours,
    )


def show(found: Quote, report: FileReport) -> None:
    """Markets side by side, then the chosen one in words."""
    rows = []
    for row in found.markets:
        if row.estimate is None:
            rows.append((row.market, "not offered", "-", "-", "-", row.price.note))
            continue
        h, c = row.estimate.hours, row.estimate.cost_usd
        rows.append(
            (
                row.market,
                f"{money(float(row.price.usd_per_hour))}/h",
                f"{span(h.low * 3600)} / {span(h.likely * 3600)} / {span(h.high * 3600)}",
                f"{money(float(c.low))} / {money(float(c.likely))} / {money(float(c.high))}",
                span(row.estimate.turnaround_h * 3600),
                f"{row.price.source}, {row.price.as_of}",
            )
        )
    columns = (
        "market",
        "price",
        "time low/likely/high",
        "cost low/likely/high",
        "to report",
        "price from",
    )
    table(f"Estimate for {report.name}", columns, rows)
    e = found.estimate
    exact = "" if report.tokens_exact else " (approximate)"
    OUT.print(
        f"{e.tokens_per_epoch:,} tokens per epoch{exact}, {e.supervised_tokens:,} supervised, "
        f"{e.steps} steps; memory {e.vram_gb:.1f} GB ({'fits' if e.fits else 'DOES NOT FIT'}); "
        f"from {e.basis}"
    )
    for warning in found.as_json()["warnings"]:
        say(f"Warning: {warning}", "yellow")
