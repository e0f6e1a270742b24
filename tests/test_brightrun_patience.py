"""A provider that is away, or a pod that cannot be ended, costs time and not the job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import ManualClock
from fakes.compute import FakeProvider

from brightrun.compute.provider import Pod
from brightrun.context import JobContext, driver_name
from brightrun.errors import ProviderError, StopFailed, TrainerError
from brightrun.jobs import JobRequest
from brightrun.ledger import AttemptRow, Ledger
from brightrun.patience import LONGEST, train_patiently
from brightrun.settings import Settings
from brightrun.stopping import JobCancelled, JobPaused

POD = "br-j1-1-abc"


def lives(environment: dict[str, str]) -> Iterator[None]:
    while True:
        yield


class Stubborn(FakeProvider):
    """It accepts the end of a pod and ignores it, for so many hours."""

    def __init__(self, clock: ManualClock, hours: float) -> None:
        super().__init__()
        self.clock, self.hours = clock, hours
        self.running[POD] = lives({})

    def terminate(self, name: str) -> None:
        if self.clock.passed > self.hours * 3600:
            super().terminate(name)

    def find(self, name: str) -> Pod | None:
        found = super().find(name)
        return found and found.model_copy(update={"state": "ended"})


def stuck(home: Path, hours: float) -> JobContext:
    """A job whose pod has failed by itself and cannot be ended for so long."""
    settings, clock = Settings(home=home), ManualClock(datetime.now(UTC))
    ledger = Ledger.open(settings)
    ledger.create_job("j1", JobRequest(training_file="f.json"))
    ledger.claim("j1", driver_name())
    ledger.add_attempt(
        "j1", 1, provider="local", market="on_demand", pod_name=POD,
        usd_per_hour=Decimal("0.5"), launched_at=clock.now(),
    )  # fmt: skip
    job = JobContext(settings, ledger, "j1")
    vars(job).update(provider=Stubborn(clock, hours), clock=clock)
    job.folder.write_json("attempts/1/launch.json", {"resumes_from": 0})
    job.folder.write_json("attempts/1/_FAILED.json", {"code": "trainer"})
    return job


def drive(job: JobContext) -> Any:
    return train_patiently(job, lambda attempt: None)


def row(job: JobContext) -> AttemptRow:
    return job.ledger.attempts("j1")[0]


def hours(job: JobContext) -> float:
    return job.clock.monotonic() / 3600


def test_a_pod_that_cannot_be_ended_for_ten_hours_does_not_end_the_job(home: Path) -> None:
    """Twenty tries of ten minutes were all there were."""
    job = stuck(home, 10.0)
    with pytest.raises(TrainerError):  # its own end, once that pod is gone
        drive(job)
    assert 10 < hours(job) < 11
    assert row(job).outcome == "failed:trainer"
    told = [e.payload["message"] for e in job.ledger.events("j1", 0, "warning")]
    assert sum("asked again for up to 24 hours" in said for said in told) == 1


def test_after_a_day_a_pod_that_cannot_be_ended_ends_the_job(home: Path) -> None:
    job = stuck(home, 999.0)
    with pytest.raises(StopFailed, match="rents no further pod"):
        drive(job)
    assert 0 <= hours(job) - LONGEST.total_seconds() / 3600 < 1
    assert row(job).ended_at is None


def test_a_day_of_trouble_is_counted_anew_after_hours_of_work(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty hours of it before hours of work and twenty after them are not forty."""
    job = stuck(home, 999.0)

    def once(job: JobContext, on_tick: Any) -> dict[str, Any]:
        if 20 < hours(job) < 21:
            job.clock.sleep(5 * 3600)
        if hours(job) > 45:
            return {"adapter_sha256": "a"}
        raise ProviderError("RunPod did not answer")

    monkeypatch.setattr("brightrun.patience.train_once", once)
    assert drive(job) == {"adapter_sha256": "a"}


@pytest.mark.parametrize(("asked", "end"), [("cancel", JobCancelled), ("pause", JobPaused)])
def test_who_cancels_or_pauses_does_not_wait_for_the_provider(
    home: Path, asked: Any, end: type[Exception]
) -> None:
    job = stuck(home, 999.0)
    job.folder.request_stop(asked, "Ann")
    with pytest.raises(end):
        drive(job)
    assert hours(job) < 0.5
    assert row(job).ended_at is None  # the reaper goes on
