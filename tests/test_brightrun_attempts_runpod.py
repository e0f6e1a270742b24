"""A job's pods at the fake RunPod: adopted, lost, taken away, gone and paid at the end."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import FastClock, ManualClock
from fakes.runpod import FakeRunPod, Mischief
from fakes.runpod.market import Market as Stock
from pydantic import SecretStr
from runpod_rentals import account, cost, heartbeats, job_on, kind, notes, provider, row

from brightrun.attempts import live_attempt, release, rent, settle_open_attempts, train_once
from brightrun.compute.provider import Doubtful
from brightrun.compute.runpod.client import TRIES
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.context import JobContext
from brightrun.errors import CapacityError, ConfigurationError, ProviderError, SpotInterrupted
from brightrun.launching import launch
from brightrun.situation import Action


@pytest.mark.parametrize("lag", [0.0, 30.0])
@pytest.mark.parametrize("fault", ["create_500", "create_dropped", "create_html"])
def test_a_lost_answer_is_one_attempt_and_one_pod(home: Path, fault: str, lag: float) -> None:
    with account(mischief=Mischief({"create": [fault]})) as fake:
        fake.account.lag_s = lag
        job = job_on(home, provider(fake))
        attempt = launch(job)
        assert fake.account.alive() == [attempt.pod_name]
        release(job, attempt)
        assert fake.account.alive() == []
        (line,) = fake.account.bill.lines.values()
        bill = Decimal(line.gpu_micro(fake.clock.now())) / 10**6
    assert row(job).outcome == "lost:never booted"
    # Never less than the bill; a list that forgets late makes the pod look longer-lived.
    assert 0 <= cost(job) - bill < Decimal("0.01") + Decimal(lag) * 2 * Decimal("2.39") / 3600


def test_a_doubt_without_a_pod_is_settled_before_the_next_one_is_rented(home: Path) -> None:
    with account(mischief=Mischief({"create": ["refused_500"]})) as fake:
        job = job_on(home, provider(fake))
        with pytest.raises(Doubtful):
            launch(job)
        assert row(job).ended_at is None
        settle_open_attempts(job)
        assert (row(job).outcome, row(job).cost_usd) == ("lost:never started", 0)
        fake.clock.sleep(60)
        second = launch(job)
        assert second.number == 2
        assert fake.account.alive() == [second.pod_name]


def test_a_pod_that_appears_after_the_doubt_is_ended_and_paid(home: Path) -> None:
    with account(mischief=Mischief({"create": ["create_500"]})) as fake:
        fake.account.lag_s = 120.0
        job = job_on(home, provider(fake))
        with pytest.raises(Doubtful):
            launch(job)
        fake.clock.sleep(60)
        settle_open_attempts(job)
        assert fake.account.alive() == []
        (line,) = fake.account.bill.lines.values()
        bill = Decimal(line.gpu_micro(fake.clock.now())) / 10**6
    assert row(job).outcome == "lost:never booted"
    assert 0 <= cost(job) - bill < Decimal("0.2")


def test_another_driver_adopts_the_pod_whatever_its_state(home: Path) -> None:
    with account() as fake:
        fake.account.machines.boot_s = 300.0
        job = job_on(home, provider(fake))
        attempt = launch(job)
        other = job_again(job, provider(fake))
        found = live_attempt(other)
        assert found is not None
        assert found.pod_name == attempt.pod_name
        assert other.lease_seconds == 900


def test_another_driver_finds_a_pod_that_lists_do_not_show_by_the_ledgers_id(home: Path) -> None:
    """It took the pod for gone after a minute, and rented a second one beside it."""
    with account() as fake:
        fake.account.lag_s = 3600.0
        job = job_on(home, provider(fake))
        attempt = launch(job)
        found = live_attempt(job_again(job, provider(fake)))
        assert found is not None
        assert found.pod_name == attempt.pod_name
        assert settle_open_attempts(job_again(job, provider(fake)))
        assert fake.account.alive() == []
    assert row(job).ended_at is not None


def test_a_driver_that_starts_while_the_api_is_away_waits_and_adopts(home: Path) -> None:
    with account() as fake:
        job = job_on(home, provider(fake))
        launch(job)
        other = job_again(job, provider(fake))
        fake.account.mischief.script["read"] = ["read_500"] * 12
        assert live_attempt(other) is not None
        fake.account.mischief.script["read"] = ["read_html"] * 999
        with pytest.raises(ProviderError):
            live_attempt(other)
        assert len(fake.account.alive()) == 1


def job_again(job: JobContext, rents: RunPodProvider) -> JobContext:
    """The same job in another process, which remembers nothing."""
    other = JobContext(job.settings, job.ledger, job.job_id)
    vars(other).update(provider=rents, clock=rents.clock)
    return other


def test_a_pod_that_cannot_be_ended_keeps_its_books_open(home: Path) -> None:
    with account(mischief=Mischief({"delete": ["delete_ignored"] * 99})) as fake:
        job = job_on(home, provider(fake))
        attempt = launch(job)
        assert not release(job, attempt)
        assert [a.outcome for a in job.ledger.open_attempts()] == ["stop_failed"]
        assert attempt.pod_name in notes(job, "error")[0]
        fake.account.mischief.script.clear()
        settle_open_attempts(job)
    assert job.ledger.open_attempts() == ()


def test_a_wrong_key_is_told_at_once_and_not_waited_for(home: Path) -> None:
    with account() as fake:
        rents = provider(fake)
        rents.rest._key = SecretStr("wrong")
        job = job_on(home, rents)
        with pytest.raises(ConfigurationError, match="invalid bearer token"):
            rent(job)
    assert job.ledger.attempts("job-1") == ()


@pytest.fixture
def brisk() -> FastClock:
    """A hundred times as fast, for us and for RunPod."""
    return FastClock(100.0)


def watched(home: Path, rents: RunPodProvider) -> JobContext:
    """The job on fast clocks: deadlines of silence would strike a pod that starts in real time."""
    rents.manners = rents.manners.model_copy(
        update={"look_every_s": 5.0, "second_look_s": 5.0, "boot_deadline_s": 6000.0}
    )
    return job_on(home, rents, heartbeat_stale_seconds=6000)


def drive(job: JobContext, on_tick: Callable[[int], None] = lambda attempt: None) -> Any:
    return train_once(job, on_tick)


def steps(environment: dict[str, str], number: int = 3) -> Any:
    command, told = heartbeats(environment)
    return command, {**told, "POD_STEPS": str(number)}


def test_a_pod_at_runpod_runs_to_its_end_and_is_gone_afterwards(
    home: Path, brisk: FastClock
) -> None:
    with account(brisk, entry=steps) as fake:
        job = watched(home, provider(fake))
        assert drive(job)["adapter_sha256"] == "abc"
        assert fake.account.alive() == []
        (line,) = fake.account.bill.lines.values()
        bill = Decimal(line.gpu_micro(fake.clock.now())) / 10**6
    assert row(job).outcome == "done"
    assert cost(job) >= bill
    assert row(job).started_at is not None


def interrupt(fake: FakeRunPod) -> Callable[[int], None]:
    def on_tick(attempt: int) -> None:
        for name in fake.account.alive():
            fake.account.machines.kill_after_s = 0.05
            fake.account.interrupt(name)

    return on_tick


@pytest.mark.parametrize("fault", ["error", "exits"])
def test_a_pod_that_ended_without_a_marker_is_lost_before_any_deadline(
    home: Path, fault: str
) -> None:
    clock = ManualClock()
    with account(clock, mischief=Mischief({"pod": [fault]})) as fake:
        job = watched(home, provider(fake))
        with pytest.raises(SpotInterrupted):
            drive(job)
        assert clock.passed < job.provider.manners.boot_deadline_s / 10
        assert fake.account.alive() == []
    assert row(job).outcome == "lost:never booted"


def test_a_pod_that_was_taken_away_is_lost(home: Path, brisk: FastClock) -> None:
    with account(brisk, entry=heartbeats) as fake:
        job = watched(home, provider(fake))
        with pytest.raises(SpotInterrupted):
            drive(job, interrupt(fake))
        assert fake.account.alive() == []


def test_while_the_api_is_away_a_pod_that_gives_signs_is_not_lost(
    home: Path, brisk: FastClock
) -> None:
    with account(brisk, entry=lambda env: steps(env, 20)) as fake:
        job = watched(home, provider(fake))

        def away(attempt: int) -> None:  # for every try of both looks at a pod
            fake.account.mischief.script["read"] = ["read_500"] * 2 * TRIES

        assert drive(job, away)["steps"] == 20
        assert fake.account.mischief.done["read_500"] >= 2 * TRIES
    assert [a.outcome for a in job.ledger.attempts("job-1")] == ["done"]


def test_a_pause_that_comes_while_a_pod_is_looked_for_is_the_new_pods(home: Path) -> None:
    with account() as fake:
        job = job_on(home, provider(fake))
        job.folder.request_stop("switch", "Ann")
        launch(job)
        assert job.folder.stop_request() is None  # it was the last pod's
        looked = job.provider.offers

        def meanwhile(*asked: int) -> Any:
            job.folder.request_stop("pause", "Ann")
            return looked(*asked)

        job.provider.offers = meanwhile  # type: ignore[method-assign]
        launch(job)
    assert (job.folder.stop_request() or {})["reason"] == "pause"


def test_a_cancel_ends_the_wait_for_a_machine(home: Path, brisk: FastClock) -> None:
    with account(brisk, market=Stock([kind("NVIDIA H100 PCIe", 2.39)])) as fake:
        job = watched(home, provider(fake))
        with pytest.raises(CapacityError):
            launch(job)
        job.folder.request_stop("cancel", "Ann")
        found = rent(job)
    assert isinstance(found, Action)
    assert found.do == "cancelled"
