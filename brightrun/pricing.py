"""A quote with all that is known: finished jobs, live prices, how often pods were lost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from brightrun import quotes
from brightrun.durations import Work
from brightrun.jobs import Hyperparameters, preset_of
from brightrun.ledger import Ledger
from brightrun.liveprices import live_prices
from brightrun.physics import ModelProfile
from brightrun.prices import Live
from brightrun.settings import Settings


def priced(
    work: Work,
    values: Hyperparameters,
    model: ModelProfile,
    *,
    preset: str,
    provider: str,
    gpu: str,
    market: str,
    settings: Settings,
    ledger: Ledger | None,
    budget_left: Decimal | None,
    notes: tuple[str, ...] = (),
    live: Live | None = None,
) -> quotes.Quote:
    """What the gate, the terminal and the table of all presets show of the same job.

    ledger: None where there is none yet; live: the provider's answer, where it was asked already.
    """
    machine = quotes.machine_for(provider, gpu, settings)
    return quotes.quote(
        work,
        values,
        model,
        provider=provider,
        gpu=gpu,
        market=market,
        settings=settings,
        observed=ledger.observed(machine.key, model.name) if ledger else (),
        budget_left=budget_left,
        users_hours=preset_of(preset).users_hours,
        notes=notes,
        live=live_prices(provider, settings) if live is None else live,
        rates=ledger.interruption_rates(provider, datetime.now(UTC)) if ledger else None,
    )
