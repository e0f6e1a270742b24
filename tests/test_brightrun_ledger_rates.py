"""Interruption rates from the ledger: which pods speak of a market, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from brightrun.jobs import JobRequest, Market
from brightrun.ledger import Ledger
from brightrun.markets import hourly_rate
from brightrun.outcomes import NEVER_BOOTED, NEVER_STARTED
from brightrun.settings import Settings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    opened = Ledger.open(Settings(home=tmp_path, DATABASE_URL=None))
    opened.create_job("job-1", JobRequest(training_file="f"))
    return opened


def pod(
    ledger: Ledger, hours: float, outcome: str, *, market: str = "spot", ago: float = 1
) -> None:
    number = ledger.next_attempt_number("job-1")
    launched = NOW - timedelta(days=ago)
    ledger.add_attempt(
        "job-1",
        number,
        provider="runpod",
        market=market,
        pod_name=f"br-job-1-{number}",
        usd_per_hour=Decimal(2),
        launched_at=launched,
    )
    if outcome:
        ledger.end_attempt("job-1", number, launched + timedelta(hours=hours), outcome)


def test_without_pods_it_is_the_prior(ledger: Ledger) -> None:
    rates = ledger.interruption_rates("runpod", NOW)
    assert rates == {market: hourly_rate(market) for market in Market}


def test_losses_and_hours_are_counted_by_market(ledger: Ledger) -> None:
    pod(ledger, 4, "lost:no ending was written")
    pod(ledger, 2, "stopped:sigterm")
    pod(ledger, 6, "done")
    pod(ledger, 10, "lost:gpu_lost", market="on_demand")
    pod(ledger, 0, "", ago=0.5)  # it runs: its hours count
    rates = ledger.interruption_rates("runpod", NOW)
    assert rates[Market.spot] == hourly_rate(Market.spot, 2, 24.0)
    assert rates[Market.on_demand] == hourly_rate(Market.on_demand, 1, 10.0)


def test_what_says_nothing_of_interruptions_is_left_out(ledger: Ledger) -> None:
    pod(ledger, 1, f"lost:{NEVER_STARTED}")
    pod(ledger, 1, f"lost:{NEVER_BOOTED}")
    pod(ledger, 5, "lost:old", ago=91)
    pod(ledger, 3, "stopped:cancel")
    rates = ledger.interruption_rates("runpod", NOW)
    assert rates[Market.spot] == hourly_rate(Market.spot, 0, 3.0)
    assert ledger.interruption_rates("local", NOW)[Market.spot].hours == 0
