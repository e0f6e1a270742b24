"""What is decided on: live prices where the provider answers, the estimate's where it is silent."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.runpod import Mischief
from runpod_rentals import account, estimate, job_on, provider
from test_brightrun_steering import market

from brightrun import steering
from brightrun.context import JobContext
from brightrun.deciding import situation
from brightrun.errors import ConfigurationError
from brightrun.jobs import Market
from brightrun.ledger import Status


def rented(home: Path, fake: Any) -> JobContext:
    """A job that runs at a fake RunPod; its estimate saw other prices than there are now."""
    job = job_on(home, provider(fake))
    markets = [market("spot", 9.0, 0.2), market("on_demand", 8.0, 0.005)]
    facts = estimate(markets=markets, interruption_s={"low": 60.0, "likely": 300.0, "high": 900.0})
    job.ledger.update_job(
        "job-1", status=Status.running, estimate=facts, hard_limit_usd=Decimal(100)
    )
    return job


def prices(job: JobContext) -> dict[str, tuple[str, bool]]:
    return {str(m.market): (str(m.usd_per_hour), m.offered) for m in situation(job).markets}


def test_markets_are_compared_at_what_they_cost_now(home: Path) -> None:
    with account() as fake:
        job = rented(home, fake)
        assert prices(job) == {"spot": ("1.25", True), "on_demand": ("2.39", True)}
        facts = steering.compared(job, fake.clock.now())
    assert [m["usd_per_hour"] for m in facts["markets"]] == [1.25, 2.39]
    assert "RunPod's catalogue" in facts["markets"][1]["price_source"]


def test_a_market_that_is_gone_is_not_offered_any_more(home: Path) -> None:
    with account() as fake:
        job = rented(home, fake)
        fake.account.market.spot_offered = False
        assert prices(job)["spot"] == ("9.0", False)
        with pytest.raises(ConfigurationError, match="spot is not offered"):
            steering.switch(job, Market.spot, "Ann")


def test_a_silent_provider_leaves_the_prices_of_the_estimate_and_it_is_said(home: Path) -> None:
    with account(mischief=Mischief({"read": ["read_500"] * 60})) as fake:
        job = rented(home, fake)
        assert prices(job) == {"spot": ("9.0", True), "on_demand": ("8.0", True)}
        facts = steering.compared(job, fake.clock.now())
    assert {m["price_source"] for m in facts["markets"]} == {steering.ESTIMATED}


def test_the_provider_is_asked_once_a_minute(home: Path) -> None:
    with account() as fake:
        job = rented(home, fake)
        situation(job)
        fake.account.market.spot_offered = False
        assert prices(job)["spot"] == ("1.25", True)
        fake.clock.sleep(61)
        assert prices(job)["spot"] == ("9.0", False)
