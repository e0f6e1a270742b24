"""Following a running pod: silence and outages, the lease, another driver, money."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import ManualClock
from pod_lives import (
    Trainer,
    dies_at_step_5,
    drive,
    finishes,
    hangs,
    job_with,
    outcomes,
    provider_of,
    stale_after,
)

from brightrun import following, recovery
from brightrun.attempts import launch_next, train_once
from brightrun.compute.provider import Manners
from brightrun.compute.runpod.provider import manners
from brightrun.context import JobContext, driver_name
from brightrun.errors import SpotInterrupted, StorageError
from brightrun.following import POLL_SECONDS, Watch
from brightrun.launching import launch
from brightrun.ledger_jobs import CLAIM_STALE_SECONDS
from brightrun.settings import Settings
from brightrun.situation import Action
from brightrun.stopping import DriverReplaced, JobCancelled

pytestmark = pytest.mark.usefixtures("quick")


def test_the_last_events_before_the_marker_are_taken_in(home: Path) -> None:
    job = job_with(home, finishes)
    drive(job)
    assert [e.seq for e in job.ledger.events("job-1", 1)] == list(range(1, 11))


def test_a_pod_without_a_sign_of_life_is_ended_and_lost(home: Path) -> None:
    job = job_with(home, hangs, finishes)
    stale_after(job, 0.05)
    with pytest.raises(SpotInterrupted):
        drive(job)
    assert provider_of(job).terminated == [job.ledger.attempts("job-1")[0].pod_name]
    assert outcomes(job) == ["lost:no ending was written"]
    assert drive(job)["steps"] == 9


def test_a_slow_pod_that_gives_signs_of_life_is_left_alone(home: Path) -> None:
    def slow(environment: dict[str, str]) -> Iterator[None]:
        pod = Trainer(environment)
        for _ in range(100):
            pod.beat()
            yield
        pod.end("_DONE", adapter_sha256="abc", steps=0)

    job = job_with(home, slow)
    stale_after(job, 0.1)
    assert drive(job)["adapter_sha256"] == "abc"


def test_a_pod_that_never_says_a_word_has_longer_to_boot(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(environment: dict[str, str]) -> Iterator[None]:
        for _ in range(60):
            yield
        Trainer(environment).end("_DONE", adapter_sha256="abc", steps=0)

    job = job_with(home, late, hangs)
    stale_after(job, 0.01)
    assert drive(job)["adapter_sha256"] == "abc"


def test_a_pod_that_never_boots_is_ended(home: Path) -> None:
    def mute(environment: dict[str, str]) -> Iterator[None]:
        while True:
            yield

    job = job_with(home, mute)
    provider_of(job).manners = Manners(look_every_s=0, second_look_s=0.002, boot_deadline_s=0.05)
    with pytest.raises(SpotInterrupted):
        drive(job)
    assert len(provider_of(job).terminated) == 1


def test_a_pod_that_ignores_a_cancel_is_ended_and_not_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "STOP_DEADLINE_SECONDS", 0.05)
    job = job_with(home, hangs)
    with pytest.raises(JobCancelled):
        train_once(job, lambda attempt: job.folder.request_stop("cancel", "Ann"))
    assert len(provider_of(job).terminated) == 1
    assert outcomes(job) == ["stopped:cancel"]


def test_a_driver_that_was_replaced_leaves_the_pod_to_its_successor(home: Path) -> None:
    job = job_with(home, hangs)
    ledger = job.ledger

    def taken_over(attempt: int) -> None:
        ledger.release_claim("job-1", driver_name())
        ledger.claim("job-1", "elsewhere:1", pid=1, host="elsewhere")
        object.__setattr__(job, "settings", job.settings.model_copy(update={"lease_seconds": 0}))

    with pytest.raises(DriverReplaced, match="elsewhere:1"):
        train_once(job, taken_over)
    assert len(provider_of(job).running) == 1
    assert provider_of(job).terminated == []
    assert len(job.ledger.open_attempts()) == 1


def test_a_driver_that_was_replaced_rents_no_pod_and_closes_no_books(home: Path) -> None:
    """Its successor has just written an attempt down, and its pod is not to be seen yet."""
    job = job_with(home)
    job.ledger.release_claim("job-1", driver_name())
    job.ledger.claim("job-1", "elsewhere:1", pid=1, host="elsewhere")
    job.ledger.add_attempt(
        "job-1", 1, provider="local", market="none", pod_name="p", usd_per_hour=Decimal(1),
        launched_at=job.clock.now(),
    )  # fmt: skip
    for drives in (lambda: drive(job), lambda: launch_next(job, Action(do="launch", why=""))):
        with pytest.raises(DriverReplaced, match="elsewhere:1"):
            drives()
    assert len(job.ledger.open_attempts()) == 1
    assert not provider_of(job).running


def test_the_lease_is_renewed_for_this_attempt(home: Path) -> None:
    job = job_with(home, dies_at_step_5, finishes)
    with pytest.raises(SpotInterrupted):
        drive(job)
    drive(job)
    lease = job.folder.read_json("control/lease.json")
    assert (lease["attempt"], lease["holder"], lease["seconds"]) == (2, driver_name(), 60)


def test_a_driver_says_often_enough_that_it_lives_however_long_the_lease_is(home: Path) -> None:
    """A rented pod's lease is 15 minutes: nobody on another host may believe its driver gone."""
    job = job_with(home)
    object.__setattr__(job, "settings", job.settings.model_copy(update={"lease_seconds": 900}))
    clock = vars(job)["clock"] = ManualClock()
    vars(job.ledger)["renew_claim"] = lambda *_: told.append(clock.monotonic()) or True
    job.ledger.add_attempt(
        "job-1", 1, provider="local", market="none", pod_name="p", usd_per_hour=Decimal(1),
        launched_at=clock.now(),
    )  # fmt: skip
    told: list[float] = []
    watch = Watch(job, job.ledger.attempts("job-1")[0], lambda _: None)
    vars(watch)["lost"] = lambda _: False
    for _ in range(60):
        assert not watch.ended()
        clock.sleep(5)
    pauses = [late - early for early, late in itertools.pairwise(told)]
    assert len(pauses) > 5
    assert max(pauses) < CLAIM_STALE_SECONDS / 3


@pytest.mark.parametrize("silent", [True, False], ids=["silent in the list", "gone from it"])
@pytest.mark.parametrize("heard_late", [0.0, 0.9])
def test_a_lost_pod_is_missed_within_75_seconds_as_runpod_is_shipped(
    home: Path, silent: bool, heard_late: float
) -> None:
    """Counted from its last heartbeat, which may be heard nearly a poll late."""
    job = job_with(home, hangs)
    clock = vars(job)["clock"] = ManualClock()
    provider = provider_of(job)
    attempt = launch(job)
    found = provider.find(attempt.pod_name)  # it beats, for the only time
    assert following.ingest(job, 1) == 1
    provider.manners = manners(Settings.model_construct())
    vars(provider)["find"] = lambda name: found if silent else None
    watch = Watch(job, attempt, lambda _: None)
    watch.looked = clock.monotonic()  # just before the loss: the next look is far
    lost_at = clock.monotonic() - heard_late
    while not watch.lost(clock.monotonic()):
        clock.sleep(POLL_SECONDS)  # as shipped: `quick` has another one
    assert clock.monotonic() - lost_at <= 75


def failing(job: JobContext, times: int) -> list[int]:
    """The run folder does not answer so many times when the lease is renewed."""
    left = [times]
    renew = job.folder.renew_lease

    def sometimes(*words: Any, **more: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise StorageError("the disk is away")
        renew(*words, **more)

    vars(job.folder)["renew_lease"] = sometimes
    return left


def test_a_storage_that_is_away_for_a_while_ends_neither_pod_nor_job(home: Path) -> None:
    job = job_with(home, finishes)
    launched = launch(job)
    left = failing(job, 3)
    assert drive(job)["steps"] == 9
    assert left == [0]
    assert len(provider_of(job).launched) == 1
    assert outcomes(job) == ["done"]
    began, ended = (e.payload for e in job.ledger.events("job-1", 0, "warning"))
    assert began["code"] == ended["code"] == "outage"
    assert "asked again for up to 10 minutes: the disk is away" in began["message"]
    assert "did not answer for" in ended["message"]
    assert "the disk is away" in ended["message"]
    assert launched.number == 1


def through_an_outage(job: JobContext, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The pod is rented; from second 5 to 300 its events cannot be read."""
    monkeypatch.setattr(following, "POLL_SECONDS", 1.0)
    monkeypatch.setattr(recovery, "LONGEST_PAUSE_SECONDS", 15.0)
    clock = vars(job)["clock"] = ManualClock(job.clock.now())
    read = job.folder.events

    def events(attempt: int, after_seq: int = 0) -> Iterator[Any]:
        if 5 <= clock.monotonic() < 300:
            raise StorageError("the disk is away")
        return read(attempt, after_seq)

    vars(job.folder)["events"] = events
    launch(job)
    return clock


def test_the_pods_silence_in_an_outage_does_not_count_against_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not write either, and asks again only a while after the storage is back."""

    def late(environment: dict[str, str]) -> Iterator[None]:
        pod = Trainer(environment)
        pod.beat()
        while clock.monotonic() < 340:
            yield
        pod.steps(1, 9)
        pod.end("_DONE", adapter_sha256="abc", steps=9)

    job = job_with(home, late)
    clock = through_an_outage(job, monkeypatch)
    assert drive(job)["steps"] == 9
    assert outcomes(job) == ["done"]


def test_a_pod_that_stays_silent_after_an_outage_is_lost(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_with(home, hangs)
    clock = through_an_outage(job, monkeypatch)
    with pytest.raises(SpotInterrupted):
        drive(job)
    stale = job.settings.heartbeat_stale_seconds
    assert 300 + stale < clock.monotonic() < 330 + stale


def test_a_pod_that_could_not_hear_a_stop_in_an_outage_has_its_time_to_obey_afterwards(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def obeys_late(environment: dict[str, str]) -> Iterator[None]:
        pod = Trainer(environment)
        pod.beat()
        while clock.monotonic() < 340:
            yield
        pod.save(2)
        pod.end("_STOPPED.json", reason="cancel", by="Ann")

    job = job_with(home, obeys_late)
    clock = through_an_outage(job, monkeypatch)
    with pytest.raises(JobCancelled):
        train_once(job, lambda attempt: job.folder.request_stop("cancel", "Ann"))
    assert provider_of(job).terminated == []
    assert job.folder.checkpoints() != []


def test_a_storage_that_stays_away_ends_the_job(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "LONGEST_PAUSE_SECONDS", 15.0)
    job = job_with(home, hangs)
    launch(job)
    left = failing(job, 10**6)
    clock = vars(job)["clock"] = ManualClock(job.clock.now())
    with pytest.raises(StorageError, match="the disk is away"):
        drive(job)
    assert left[0] < 10**6 - recovery.OUTAGE_SECONDS / 15
    assert clock.passed >= recovery.OUTAGE_SECONDS
    assert provider_of(job).running == {}


def test_money_is_watched_while_a_pod_runs(home: Path) -> None:
    job = job_with(home, finishes)
    estimate = {"cost_usd": {"low": 1e-9, "likely": 1e-9, "high": 1.0}}
    job.ledger.update_job("job-1", estimate=estimate)
    drive(job)
    said = [e.payload for e in job.ledger.events("job-1", 0, "warning")]
    assert [p["threshold"] for p in said] == ["80", "95", "over_20"]
    assert {p["scope"] for p in said} == {"job-1"}
