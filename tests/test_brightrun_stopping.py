"""Ends that somebody wanted: a cancelled job, a limit, a month that is used up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pod_lives import (
    dies_at_step_5,
    drive,
    ends_at_its_own_limit,
    finishes,
    job_with,
    obeys,
    outcomes,
    provider_of,
)

from brightrun import alerts, attempts
from brightrun.attempts import train_once
from brightrun.context import JobContext
from brightrun.errors import InterruptionError, SpotInterrupted
from brightrun.jobs import JobRequest
from brightrun.launching import launch
from brightrun.outcomes import OWN_LIMIT
from brightrun.stopping import JobCancelled

pytestmark = pytest.mark.usefixtures("quick")


def test_a_cancelled_pod_saves_and_the_job_is_cancelled(home: Path) -> None:
    job = job_with(home, obeys)

    def cancel(attempt: int) -> None:
        job.folder.request_stop("cancel", "Ann")

    with pytest.raises(JobCancelled, match="stopped by cancel"):
        train_once(job, cancel)
    assert outcomes(job) == ["stopped:cancel"]
    assert job.folder.checkpoints() == [2]


def test_no_pod_is_rented_for_a_job_that_was_cancelled_between_two_pods(home: Path) -> None:
    job = job_with(home, dies_at_step_5, finishes)
    with pytest.raises(SpotInterrupted):
        drive(job)
    job.folder.request_stop("cancel", "Ann")
    with pytest.raises(JobCancelled):
        drive(job)
    assert len(provider_of(job).launched) == 1
    attempts.start_afresh(job)  # a person goes on later
    assert drive(job)["steps"] == 9


def test_a_job_cancelled_before_its_first_pod_rents_none(home: Path) -> None:
    job = job_with(home)
    job.folder.request_stop("cancel", "Ann")
    with pytest.raises(JobCancelled):
        drive(job)
    assert provider_of(job).launched == []


def test_a_stop_that_was_for_the_last_pod_does_not_stop_the_next(home: Path) -> None:
    job = job_with(home, finishes)
    job.folder.request_stop("switch", "the market watch")
    assert drive(job)["steps"] == 9


def test_a_pod_whose_hours_were_over_is_told_with_its_place_in_the_list_of_errors(
    home: Path,
) -> None:
    with pytest.raises(JobCancelled, match=OWN_LIMIT) as error:
        drive(job_with(home, ends_at_its_own_limit))
    assert error.value.fault == "time_limit"
    assert "docs/errors.md#time-limit" in str(error.value)


def test_the_hard_limit_stops_the_pod_and_asks_again(home: Path) -> None:
    job = job_with(home, obeys)
    job.folder.write_json("gate.json", {"by": "policy"})
    job.ledger.update_job("job-1", hard_limit_usd=Decimal("0.000001"))
    with pytest.raises(JobCancelled, match="budget"):
        drive(job)
    assert outcomes(job) == ["stopped:budget"]
    assert "hard limit" in str(job.folder.stop_request())
    attempts.start_afresh(job)
    assert not job.folder.exists("gate.json")
    assert not job.folder.exists("estimate.json")
    assert job.folder.stop_request() is None


def month_used_up(job: JobContext) -> None:
    """By an earlier job of this month."""
    now = datetime.now(UTC)
    job.ledger.set_month_limit(f"{now:%Y-%m}", Decimal(5), set_by="Ann")
    job.ledger.create_job("job-0", JobRequest(training_file="x.json"))
    job.ledger.add_attempt(
        "job-0", 1, provider="local", market="spot", pod_name="p", usd_per_hour=Decimal(1),
        launched_at=now,
    )  # fmt: skip
    job.ledger.end_attempt("job-0", 1, now + timedelta(microseconds=1), "done", cost_usd=Decimal(5))


def test_a_used_up_month_stops_the_pod_after_a_checkpoint_and_asks_again(home: Path) -> None:
    job = job_with(home, obeys)
    job.folder.write_json("gate.json", {"by": "policy", "override_budget": False})
    month_used_up(job)
    with pytest.raises(JobCancelled, match=r"budget: .* in 20\d\d-\d\d: .* \$5.00 is reached"):
        drive(job)
    assert outcomes(job) == ["stopped:budget"]
    assert job.folder.checkpoints() == [2]
    attempts.start_afresh(job)
    assert not job.folder.exists("gate.json")


def test_a_month_that_is_used_up_between_two_pods_rents_no_other_and_asks_again(
    home: Path,
) -> None:
    job = job_with(home, dies_at_step_5)
    job.folder.write_json("gate.json", {"by": "policy", "override_budget": False})
    with pytest.raises(SpotInterrupted):
        drive(job)
    month_used_up(job)
    alerts.check(job)
    with pytest.raises(JobCancelled, match="is reached"):
        drive(job)
    assert len(provider_of(job).launched) == 1
    attempts.start_afresh(job)
    assert not job.folder.exists("gate.json")


def test_a_job_whose_approval_overrode_the_budget_is_not_stopped_by_the_month(home: Path) -> None:
    job = job_with(home, finishes)
    job.folder.write_json("gate.json", {"by": "Ann", "override_budget": True})
    month_used_up(job)
    assert drive(job)["steps"] == 9
    assert job.folder.stop_request() is None


def test_a_limit_that_does_not_pay_for_the_rest_ends_the_job_and_is_asked_for_again(
    home: Path,
) -> None:
    job = job_with(home, dies_at_step_5)
    market = {"market": "on_demand", "offered": True, "price": {"usd_per_hour": 50.0}}
    limit = Decimal("0.5")  # $50 an hour: half a minute, and the rest takes minutes
    job.ledger.update_job("job-1", estimate={"markets": [market]})
    launch(job)
    job.ledger.update_job("job-1", hard_limit_usd=limit)
    with pytest.raises(InterruptionError, match="going on would cost about"):
        drive(job)
    assert outcomes(job) == ["lost:no ending was written"]
    job.folder.write_json("gate.json", {"by": "policy"})
    attempts.start_afresh(job)
    assert not job.folder.exists("gate.json")
