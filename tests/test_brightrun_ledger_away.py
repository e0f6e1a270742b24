"""A ledger whose server is away: what a job does meanwhile, and a real Postgres that comes back."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pod_lives import Trainer, drive, finishes, hangs, job_with, outcomes, provider_of
from without_ledger import WithoutLedger

from brightrun import attempts
from brightrun.compute.provider import Manners
from brightrun.context import JobContext
from brightrun.deciding import decide
from brightrun.errors import LedgerAway, StopFailed, StorageError
from brightrun.jobs import JobRequest
from brightrun.launching import launch
from brightrun.ledger import Ledger
from brightrun.outages import storage_is_away
from brightrun.settings import Settings
from brightrun.situation import Action
from brightrun.stopping import JobCancelled
from trainer import control


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
    assert re.match(r"storage, ledger, provider or Prefect did not answer for 3\d\d s", said)


def test_why_a_job_ends_is_told_when_the_ledger_is_back(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_with(home)
    job.folder.request_stop("cancel", "Ann")

    def decided(job: JobContext) -> Action:
        found = decide(job)
        WithoutLedger(job, back=300)
        return found

    monkeypatch.setattr(attempts, "decide", decided)
    with pytest.raises(JobCancelled):
        drive(job)
    assert job.clock.monotonic() >= 300


@pytest.mark.parametrize("rented", [True, False])
def test_a_pod_that_may_still_run_is_told_when_the_ledger_is_back(
    home: Path, rented: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start of a driver, and after the pod that it followed."""

    def not_ended(job: JobContext, *_: Any, **__: Any) -> bool:
        WithoutLedger(job, back=300)
        return False

    job = job_with(home, hangs)
    if rented:
        launch(job)
        monkeypatch.setattr(attempts, "follow", lambda *_: None)
    monkeypatch.setattr(attempts, "release" if rented else "settle_open_attempts", not_ended)
    with pytest.raises(StopFailed, match="rents no further pod"):
        drive(job)
    assert job.clock.monotonic() >= 300


def driver_gone(job: JobContext, back: float) -> WithoutLedger:
    """A rented pod whose driver has given up; its lease is RunPod's 15 minutes."""
    provider_of(job).manners = Manners(look_every_s=0.0, second_look_s=0.002, lease_s=900)
    launch(job)
    clock = WithoutLedger(job, back)
    with pytest.raises(LedgerAway, match="the ledger cannot be used: connection failed"):
        drive(job)
    assert 600 < clock.monotonic() < 660
    assert len(provider_of(job).running) == 1
    return clock


@pytest.mark.usefixtures("quick")
def test_after_an_hour_without_its_ledger_driver_and_pod_have_gone_and_the_next_goes_on(
    home: Path,
) -> None:
    """Nobody pays for a pod that nobody follows: it ends by its lease, with a checkpoint."""

    def obeys_its_lease(environment: dict[str, str]) -> Iterator[None]:
        pod = Trainer(environment)
        pod.steps(1, 4)
        pod.save(4)
        while (stop := ended_by(pod)) is None:
            pod.beat()
            yield
        pod.end("_STOPPED.json", **stop.marker())

    def ended_by(pod: Trainer) -> control.Stop | None:
        lease, now = pod.folder.read_json(control.LEASE), job.clock.now().timestamp()
        return control.decide(lease, None, now, pod.attempt)

    job = job_with(home, obeys_its_lease, finishes)
    clock, provider = driver_gone(job, back=3600), provider_of(job)
    (pod,) = provider.running
    while provider.find(pod) is not None:
        clock.sleep(5)
    assert 890 < clock.monotonic() < 910
    assert provider.terminated == []
    clock.sleep(3600 - clock.monotonic())
    assert drive(job)["steps"] == 9
    assert outcomes(job) == ["stopped:lease", "done"]
    assert [a.resumed_from for a in job.ledger.attempts("job-1")] == [0, 4]


@pytest.mark.usefixtures("quick")
def test_a_driver_that_starts_within_the_lease_adopts_the_pod(home: Path) -> None:
    job = job_with(home, finishes)
    driver_gone(job, back=700).sleep(100)
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


def test_a_postgres_that_accepts_and_never_answers_is_away(tmp_path: Path) -> None:
    """Seconds of patience as its URL has them; without, see LIBPQ."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/l?connect_timeout=2"
        with pytest.raises(LedgerAway, match="the ledger cannot be used"):
            Ledger.open(Settings.model_validate({"home": tmp_path, "DATABASE_URL": url}))


def test_a_full_disk_and_a_foreign_file_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="the ledger cannot be used") as caught:
        Ledger.open(Settings.model_validate({"home": tmp_path, "DATABASE_URL": None}))
    assert not isinstance(caught.value, LedgerAway)
    assert not storage_is_away(caught.value)
    assert storage_is_away(LedgerAway("the ledger cannot be used: connection refused"))
