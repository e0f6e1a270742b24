"""A ledger whose server is away: what a job does meanwhile, and a real Postgres that comes back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes.clock import ManualClock
from pod_lives import drive, finishes, job_with, outcomes, provider_of

from brightrun.context import JobContext
from brightrun.errors import LedgerAway, StorageError
from brightrun.jobs import JobRequest
from brightrun.launching import launch
from brightrun.ledger import Ledger
from brightrun.ledger_store import engine_of
from brightrun.outages import storage_is_away
from brightrun.settings import Settings


class WithoutLedger(ManualClock):
    """Nobody listens where the ledger's Postgres was, until `back` seconds have passed."""

    def __init__(self, job: JobContext, back: float) -> None:
        super().__init__(datetime.now(UTC))
        self.ledger, self.back, self.there = job.ledger, back, job.ledger.engine
        nobody = {"home": job.settings.home, "DATABASE_URL": "postgresql://u@127.0.0.1:9/l"}
        job.ledger.engine = engine_of(Settings.model_validate(nobody))
        vars(job)["clock"] = self

    def sleep(self, seconds: float) -> None:
        super().sleep(max(seconds, 5.0))  # the pauses of these tests are too short for an hour
        if self.monotonic() >= self.back:
            self.ledger.engine = self.there


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("rented", [True, False])
def test_a_ledger_that_is_away_for_minutes_ends_neither_pod_nor_job(
    home: Path, rented: bool
) -> None:
    job = job_with(home, finishes)
    if rented:
        launch(job)
    WithoutLedger(job, back=300)
    assert drive(job)["steps"] == 9
    assert (outcomes(job), len(provider_of(job).launched)) == (["done"], 1)
    (said,) = [e.payload["message"] for e in job.ledger.events("job-1", 0, "warning")]
    assert re.match(r"storage, ledger or provider did not answer for 3\d\d s", said)


@pytest.mark.usefixtures("quick")
def test_after_an_hour_without_its_ledger_a_driver_has_gone_and_the_next_adopts_the_pod(
    home: Path,
) -> None:
    """Nobody pays twice: what was rented stays in the books, and its lease ends by itself."""
    job = job_with(home, finishes)
    launch(job)
    clock = WithoutLedger(job, back=3600)
    with pytest.raises(LedgerAway, match="the ledger cannot be used: connection failed"):
        drive(job)
    assert 600 < clock.monotonic() < 660
    assert len(provider_of(job).running) == 1
    clock.sleep(3000)
    assert drive(job)["steps"] == 9
    assert (outcomes(job), len(provider_of(job).launched)) == (["done"], 1)


@pytest.mark.slow
def test_a_postgres_that_stops_is_waited_for_and_serves_the_same_ledger_when_it_is_back(
    tmp_path: Path,
) -> None:
    from postgres_server import postgres_server

    place = tmp_path / "postgres"
    with postgres_server(place) as server:
        where = {"home": tmp_path / "home", "DATABASE_URL": server.fresh()}
        ledger = Ledger.open(Settings.model_validate(where))
        ledger.create_job("j1", JobRequest(training_file="f.json"))
    for ask in (ledger.jobs, lambda: ledger.update_job("j1", stage="training")):
        with pytest.raises(LedgerAway, match="the ledger cannot be used"):
            ask()
    with postgres_server(place):  # its open connections are dead: new ones are made
        ledger.update_job("j1", stage="training")
        assert ledger.job("j1").stage == "training"
        ledger.close()


def test_a_full_disk_and_a_foreign_file_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="the ledger cannot be used") as caught:
        Ledger.open(Settings.model_validate({"home": tmp_path, "DATABASE_URL": None}))
    assert not isinstance(caught.value, LedgerAway)
    assert not storage_is_away(caught.value)
    assert storage_is_away(LedgerAway("the ledger cannot be used: connection refused"))
