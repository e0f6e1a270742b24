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
from flows.terminal import money, say, span, table, tell


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
        f"{e.steps} steps; memory {e.vram_gb:.1f} GB ({'fits' if e.fits else 'DOES NOT FIT'}); "
        f"from {e.basis}"
    )
    tell(f"Price: {e.price.source}, {e.price.as_of}; stopped by itself at "
         f"{money(float(e.hard_limit_usd))}")  # fmt: skip
    for warning in found.as_json()["warnings"]:
        say(f"Warning: {warning}", "yellow")
