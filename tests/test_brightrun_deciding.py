"""What is decided on: live prices where the provider answers, the estimate's where it is silent."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.runpod import FakeRunPod, Mischief
from fakes.runpod.account import Problem
from fakes.runpod.market import GpuKind
from fakes.runpod.market import Market as Stock
from runpod_rentals import IMAGE, account, estimate, job_on, provider
from test_brightrun_steering import market

from brightrun import steering
from brightrun.attempts import rent
from brightrun.compute.runpod.pods import Place
from brightrun.context import JobContext
from brightrun.deciding import situation
from brightrun.errors import ConfigurationError
from brightrun.jobs import Market
from brightrun.ledger import AttemptRow, Status


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


def may_only_read(fake: FakeRunPod, answer: dict[str, Any] | int) -> None:
    """The account's key may ask GraphQL for prices, and not rent there."""
    asked = fake._graphql

    def graphql(body: dict[str, Any]) -> dict[str, Any]:
        if not str(body["query"]).startswith("mutation"):
            return asked(body)
        if isinstance(answer, int):
            raise Problem(answer, "No", "this key may not rent here")
        return {"data": None, "errors": [answer]}

    fake._graphql = graphql  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "answer",
    [
        *(400, 401, 403, 404, 405, 410),
        {"message": "no", "extensions": {"code": "FORBIDDEN"}},
        {"message": "no", "extensions": {"code": "UNAUTHENTICATED"}},
    ],
)
def test_a_key_that_may_not_rent_spot_rents_on_demand(
    home: Path, answer: dict[str, Any] | int
) -> None:
    """Spot is what a job asks for by default; such a key failed every one of them."""
    with account() as fake:
        may_only_read(fake, answer)
        job = job_on(home, provider(fake))
        assert job.request.market == Market.spot
        markets = [market("spot", 1.25, 0.2), market("on_demand", 2.39, 0.005)]
        facts = estimate(1.25, "spot", markets=markets, interruption_s={"likely": 300.0})
        job.folder.write_json("estimate.json", facts)
        job.ledger.update_job("job-1", status=Status.running, estimate=facts)
        began = fake.clock.now()
        found = rent(job)
        assert isinstance(found, AttemptRow)
        assert (found.number, found.market) == (2, "on_demand")
        assert (fake.clock.now() - began).total_seconds() < 60
        assert fake.account.alive() == [found.pod_name]
        assert prices(job)["spot"] == ("1.25", False)
        fake.clock.sleep(3600)  # a proxy's no may have passed
        assert Market.spot in {o.market for o in job.provider.offers()}


def test_a_key_that_may_rent_nothing_ends_a_job_at_a_pinned_place_on_both_markets(
    home: Path,
) -> None:
    """Spot is tried again every hour, which does not begin on demand's count anew."""
    never = Mischief({"create": ["forbidden"] * 99})
    pool = GpuKind("NVIDIA H100 PCIe", 80, 2.39, 0.0, 1.25, {"US-KS-2": 3})
    with account(market=Stock([pool]), mischief=never) as fake:
        may_only_read(fake, 403)
        fake.account.volumes["vol1"] = "US-KS-2"
        job = job_on(home, provider(fake, Place(image=IMAGE, volume="vol1")))
        markets = [market("spot", 1.25, 0.2), market("on_demand", 2.39, 0.005)]
        facts = estimate(1.25, "spot", markets=markets, interruption_s={"likely": 300.0})
        job.folder.write_json("estimate.json", facts)
        job.ledger.update_job("job-1", status=Status.running, estimate=facts)
        with pytest.raises(ConfigurationError, match="only candidate refused 8 times in the same"):
            rent(job)
        assert {a.market for a in job.ledger.attempts("job-1")} == {"spot", "on_demand"}
        assert fake.clock.passed < 3 * 3600
