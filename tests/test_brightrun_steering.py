"""A person steers a job that runs: pause, switch, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pod_lives import Trainer, drive, finishes, job_with, obeys, outcomes, provider_of

from brightrun import attempts, steering
from brightrun.context import JobContext
from brightrun.errors import ConfigurationError
from brightrun.jobs import Market
from brightrun.ledger import Status
from brightrun.remains import kept
from brightrun.stopping import JobPaused


def market(name: str, usd: float, rate: float, *, offered: bool = True) -> dict[str, Any]:
    """A row of an estimate's JSON."""
    spread = {"low": rate / 2, "likely": rate, "high": rate * 2, "losses": 0, "hours": 0.0}
    price = {"usd_per_hour": usd, "source": "test", "as_of": "2026-11-22"}
    return {
        "market": name, "offered": offered, "price": price, "interruptions_per_hour": spread,
    }  # fmt: skip


MARKETS = [market("spot", 1.0, 0.2), market("on_demand", 2.0, 0.005)]


pytestmark = pytest.mark.usefixtures("quick")


def running(
    home: Path, *lives: Any, markets: list[dict[str, Any]] | None = None, limit: str = "100"
) -> JobContext:
    job = job_with(home, *lives)
    estimate = {
        "price": MARKETS[0]["price"],
        "market": "spot",
        "stage_seconds": {"training": 3600.0},
        "vram_gb": 1.0,
        "interruption_s": {"low": 60.0, "likely": 300.0, "high": 900.0},
        "markets": markets or MARKETS,
    }
    job.folder.write_json("estimate.json", {**estimate, "hard_limit_usd": float(limit)})
    job.ledger.update_job(
        "job-1", status=Status.running, estimate=estimate, hard_limit_usd=Decimal(limit)
    )
    return job


def test_a_paused_pod_saves_and_goes_and_the_job_goes_on_later(home: Path) -> None:
    job = running(home, obeys, finishes)
    with pytest.raises(JobPaused, match="is paused: its newest checkpoint is kept"):
        attempts.train_once(job, lambda attempt: steering.pause(job, "Ann"))
    assert outcomes(job) == ["stopped:pause"]
    assert provider_of(job).running == {}
    with pytest.raises(JobPaused):  # a restart of the flow alone does not go on
        drive(job)
    attempts.start_afresh(job)
    assert drive(job)["steps"] == 9
    assert [a.resumed_from for a in job.ledger.attempts("job-1")] == [0, 2]


def test_a_switched_job_goes_on_at_once_where_it_was_sent(home: Path) -> None:
    job = running(home, obeys, finishes)

    def ask(attempt: int) -> None:
        if attempt == 1 and job.folder.stop_request() is None:
            assert "saves a checkpoint" in steering.switch(job, Market.on_demand, "Ann")

    assert attempts.train_once(job, ask)["steps"] == 9
    first, second = job.ledger.attempts("job-1")
    assert (first.market, first.outcome) == ("spot", "stopped:switch")
    assert (second.market, second.resumed_from) == ("on_demand", 2)
    assert not first.interrupted


def test_between_two_pods_a_wish_waits_for_the_next_one(home: Path) -> None:
    job = running(home, finishes)
    assert steering.switch(job, Market.on_demand, "Ann") == "the next pod is rented on on_demand"
    assert job.folder.stop_request() is None
    drive(job)
    assert job.ledger.attempts("job-1")[0].market == "on_demand"


def test_what_would_not_happen_is_refused_and_nothing_is_asked(home: Path) -> None:
    gone = [market("spot", 1.0, 0.2, offered=False), MARKETS[1]]
    job = running(home, markets=gone)
    with pytest.raises(ConfigurationError, match="spot is not offered"):
        steering.switch(job, Market.spot, "Ann")
    poor = job.ledger.update_job("job-1", hard_limit_usd=Decimal("0.50"))
    assert poor.hard_limit_usd == Decimal("0.50")
    with pytest.raises(ConfigurationError, match="of the limit is left"):
        steering.switch(job, Market.on_demand, "Ann")
    assert job.folder.stop_request() is None
    assert not job.folder.exists(steering.WISH)


@pytest.mark.parametrize(
    ("status", "why"),
    [("awaiting_approval", "waits and costs nothing"), ("evaluating", "no GPU works for it")],
)
def test_a_job_without_a_gpu_has_none_to_release(home: Path, status: str, why: str) -> None:
    job = running(home)
    job.ledger.update_job("job-1", status=status)
    with pytest.raises(ConfigurationError, match=why):
        steering.pause(job, "Ann")
    assert job.folder.stop_request() is None


def test_markets_are_compared_by_what_is_left(home: Path) -> None:
    facts = steering.compared(running(home), datetime.now(UTC))
    spot, demand = facts["markets"]
    assert (spot["market"], demand["market"]) == ("spot", "on_demand")
    assert spot["cost_usd"]["likely"] < demand["cost_usd"]["likely"]
    assert spot["finish"]["likely"] > demand["finish"]["likely"]
    assert facts["recommendation"]["market"] == "spot"
    first, second, advice = steering.sentences(facts)
    assert first.startswith("spot: $1.00 per hour, still $")
    assert "on_demand: $2.00 per hour" in second
    assert advice == facts["recommendation"]["why"]


def test_an_observed_rate_says_what_it_rests_on(home: Path) -> None:
    job, now = running(home), datetime.now(UTC)
    job.ledger.add_attempt(
        "job-1", 1, provider="local", market="spot", pod_name="p", usd_per_hour=Decimal(1),
        launched_at=now - timedelta(hours=12.5),
    )  # fmt: skip
    job.ledger.end_attempt("job-1", 1, now, "lost:host")
    first, second, _ = steering.sentences(steering.compared(job, now))
    assert first.endswith("16% interruptions an hour (1 loss in 12.5 pod hours seen)")
    assert second.endswith("interruptions an hour")


def test_what_is_kept_is_said(home: Path) -> None:
    def measures(environment: dict[str, str]) -> Iterator[None]:
        pod = Trainer(environment)
        pod.steps(1, 2)
        pod.save(2)
        yield
        pod.folder.write_jsonl("measurements/knowledge.jsonl", [{"item": 1}])
        pod.end("_DONE", adapter_sha256="abc", steps=2)

    job = running(home, measures)
    now = datetime.now(UTC)
    assert kept(job, now) == "$0.0000 spent; kept: the checked data and the estimate"
    drive(job)
    assert kept(job, now).endswith("1 checkpoint (newest: step 2), the measurements so far")
