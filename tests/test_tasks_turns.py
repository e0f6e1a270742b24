"""Waiting for a GPU: in the order of the queue, obeying who asks it to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from fakes.clock import ManualClock
from fakes.compute import FakeProvider
from typer.testing import CliRunner
from without_ledger import WithoutLedger

from brightrun import turns
from brightrun.context import JobContext
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load
from brightrun.stopping import JobCancelled, JobPaused
from flows.cli import app
from tasks.turns import turn


class Places:
    """A global limit that counts; `free` places, else why there is none."""

    def __init__(self, free: int, refusal: type[Exception] = TimeoutError) -> None:
        self.free, self.refusal = free, refusal

    @contextmanager
    def __call__(self, quota: int, seconds: float) -> Iterator[None]:
        if self.free <= 0:
            raise self.refusal("no place")
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1


class Later(ManualClock):
    """Does something while the job sleeps."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self.then = then

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.then()
        assert len(self.sleeps) < 20, "it waits for ever"


@pytest.fixture
def ledger(home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("BRIGHTRUN_GPU_QUOTA", "1")
    return Ledger.open(load())


def job(ledger: Ledger, name: str, then: Callable[[], object] = lambda: None) -> JobContext:
    ledger.create_job(name, JobRequest(training_file="f.json"))
    found = JobContext(ledger.settings, ledger, name)
    vars(found).update(provider=FakeProvider(), clock=Later(then))
    return found


def test_without_a_quota_nobody_waits(home: Path) -> None:
    known = job(Ledger.open(load()), "j1")
    with turn(known, Places(0)):
        assert known.ledger.job("j1").status == "running"


@pytest.mark.parametrize("refusal", [TimeoutError, httpx.ConnectError], ids=["taken", "away"])
def test_a_job_waits_until_a_place_is_free_and_gives_it_back(
    ledger: Ledger, refusal: type[Exception]
) -> None:
    """Or while Prefect's server, which has the places, is away."""
    slots = Places(0, refusal)

    def freed() -> None:
        row = ledger.job("j1")
        assert (row.status, row.stage) == ("queued", "GPU queue: 1 of 1, soon")
        slots.free = 1

    known = job(ledger, "j1", freed)
    with turn(known, slots):
        assert ledger.job("j1").status == "running"
        assert slots.free == 0
    assert slots.free == 1


def test_whoever_is_not_next_leaves_a_free_place_to_the_one_that_is(ledger: Ledger) -> None:
    job(ledger, "early")
    ledger.update_job("early", status=Status.queued)
    asked: list[int] = []

    def only_count(quota: int, seconds: float) -> AbstractContextManager[None]:
        asked.append(len(late.clock.sleeps))  # type: ignore[attr-defined]
        return Places(1)(quota, seconds)

    def urgent() -> None:
        assert ledger.job("late").stage.startswith("GPU queue: 2 of 2")
        assert CliRunner().invoke(app, ["prioritize", "late", "5"]).exit_code == 0

    late = job(ledger, "late", urgent)
    with turn(late, only_count):
        assert asked == [1]  # not before it was moved to the front
    assert turns.priority(late) == 5


def test_a_ledger_that_is_away_while_a_job_waits_is_waited_for(ledger: Ledger) -> None:
    slots = Places(0)

    def gone() -> None:
        WithoutLedger(known, back=300)
        slots.free = 1

    known = job(ledger, "j1", gone)
    with turn(known, slots):
        assert ledger.job("j1").status == "running"
    assert known.clock.monotonic() >= 300


@pytest.mark.parametrize(("reason", "error"), [("cancel", JobCancelled), ("pause", JobPaused)])
def test_a_waiting_job_obeys(ledger: Ledger, reason: str, error: type[Exception]) -> None:
    known = job(ledger, "j1", lambda: known.folder.request_stop(reason, "Ann"))  # type: ignore[arg-type]
    with pytest.raises(error), turn(known, Places(0)):
        pytest.fail("it has its turn")
