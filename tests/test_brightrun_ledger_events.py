"""Taking in events and reading the training curve; several processes on one ledger."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from brightrun.errors import ConfigurationError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.runfolder import Event, EventType
from brightrun.settings import Settings

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WISH = JobRequest(training_file="sample")
PROCESSES = 4


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    opened = Ledger.open(Settings(home=tmp_path))
    opened.create_job("a", WISH)
    return opened


def event(seq: int, type_: EventType = "heartbeat", attempt: int = 1, **payload: Any) -> Event:
    ts = NOW + timedelta(seconds=seq)
    return Event(ts=ts, attempt=attempt, seq=seq, type=type_, payload=payload)


def step(seq: int, number: int, loss: float, attempt: int = 1) -> Event:
    return event(seq, "metric", attempt, step=number, loss=loss, epoch=1.0, tokens=100)


def check(seq: int, number: int, loss: float, attempt: int = 1) -> Event:
    return event(seq, "metric", attempt, step=number, epoch=1.0, validation_loss=loss)


def test_events_taken_in_again_change_nothing(ledger: Ledger) -> None:
    rows = [event(1), step(2, 1, 2.5), event(3, "error", message="x")]
    assert ledger.ingest("a", rows) == 3
    before = ledger.events("a")
    assert ledger.ingest("a", [*rows, event(4)]) == 1
    assert ledger.events("a")[:3] == before
    assert [m.loss for m in ledger.metrics("a")] == [2.5]
    assert ledger.event_counts("a", 1) == {"heartbeat": 2, "metric": 1, "error": 1}
    assert ledger.last_event_at("a", 1) == NOW + timedelta(seconds=4)
    assert ledger.last_event_at("a", 2) is None


def test_the_mark_never_passes_a_gap(ledger: Ledger) -> None:
    assert ledger.last_seq("a", 1) == 0
    ledger.ingest("a", [event(2)])
    assert ledger.last_seq("a", 1) == 0
    ledger.ingest("a", [event(1), event(5), event(6)])
    assert ledger.last_seq("a", 1) == 2
    ledger.ingest("a", [event(4), event(3)])
    assert ledger.last_seq("a", 1) == 6
    assert ledger.last_seq("a", 2) == 0


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(st.lists(st.integers(1, 12), max_size=8), max_size=6),
    attempt=st.integers(1, 10**9),
)
def test_any_order_and_repetition_gives_the_same_ledger(
    ledger: Ledger, batches: list[list[int]], attempt: int
) -> None:
    before = {e.seq for e in ledger.events("a", attempt)}
    new = sum(ledger.ingest("a", [event(s, attempt=attempt) for s in batch]) for batch in batches)
    sent = before.union(*batches)
    assert new == len(sent - before)
    assert [e.seq for e in ledger.events("a", attempt)] == sorted(sent)
    whole = next(n for n in range(14) if n + 1 not in sent)
    assert ledger.last_seq("a", attempt) == whole


def test_more_events_than_one_batch_arrive_complete(ledger: Ledger) -> None:
    assert ledger.ingest("a", (step(i, i, 1.0) for i in range(1, 1203))) == 1202
    assert ledger.last_seq("a", 1) == 1202
    assert len(ledger.metrics("a")) == 1202


def test_events_are_filtered_and_paged_by_arrival(ledger: Ledger) -> None:
    ledger.ingest("a", [event(1), step(2, 1, 1.0), event(1, attempt=2)])
    assert [e.attempt for e in ledger.events("a", type="heartbeat")] == [1, 2]
    assert [e.seq for e in ledger.events("a", attempt=1)] == [1, 2]
    last = max(e.id for e in ledger.events("a"))
    ledger.ingest("a", [event(3), event(4)])
    assert [e.seq for e in ledger.events("a", after_id=last)] == [3, 4]
    assert [e.seq for e in ledger.events("a", after_id=last, limit=1)] == [3]


def test_events_of_an_unknown_job_are_refused(ledger: Ledger) -> None:
    with pytest.raises(ConfigurationError, match="no job 'b'"):
        ledger.ingest("b", [event(1)])


def test_a_diverged_loss_is_kept_as_an_event_and_a_hole_in_the_curve(ledger: Ledger) -> None:
    ledger.ingest("a", [step(1, 1, float("nan")), step(2, 2, float("inf"))])
    assert [e.payload["loss"] for e in ledger.events("a")] == ["nan", "inf"]
    assert [m.loss for m in ledger.metrics("a")] == [None, None]


def test_validation_losses_join_the_step_they_belong_to(ledger: Ledger) -> None:
    ledger.ingest("a", [check(1, 0, 3.0), step(2, 1, 2.9), step(3, 2, 2.8), check(4, 2, 2.7)])
    curve = [(m.step, m.loss, m.validation_loss) for m in ledger.metrics("a")]
    assert curve == [(0, None, 3.0), (1, 2.9, None), (2, 2.8, 2.7)]


def test_what_a_later_attempt_ran_again_replaces_the_lost_steps(ledger: Ledger) -> None:
    ledger.ingest("a", [step(i, i, 1.0) for i in range(1, 7)])
    ledger.ingest("a", [check(7, 3, 1.5), check(8, 6, 1.6)])
    ledger.ingest("a", [step(1, 4, 0.5, attempt=2)])
    curve = [(m.step, m.attempt, m.loss, m.validation_loss) for m in ledger.metrics("a")]
    assert curve == [(1, 1, 1.0, None), (2, 1, 1.0, None), (3, 1, 1.0, 1.5), (4, 2, 0.5, None)]


# --- several processes --------------------------------------------------------------------------
def _open_at_once(home: str, barrier: Any, results: Any) -> None:
    barrier.wait()
    ledger = Ledger.open(Settings(home=Path(home)))
    ledger.create_job("a", WISH)
    new = ledger.ingest("a", [step(i, i, 1.0) for i in range(1, 301)])
    told = ledger.record_alert("2026-11", "80", "x")
    results.put((new, told, ledger.claim("a", multiprocessing.current_process().name)))


def _together(target: Callable[..., None], *arguments: Any) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    workers = [
        context.Process(target=target, args=(*arguments, barrier, results))
        for _ in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    return answers


def test_processes_that_open_a_fresh_home_at_once_neither_fail_nor_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    answers = _together(_open_at_once, str(tmp_path))
    assert sum(new for new, _, _ in answers) == 300
    assert sum(told for _, told, _ in answers) == 1
    assert sum(mine for _, _, mine in answers) == 1
    ledger = Ledger.open(Settings(home=tmp_path))
    assert ledger.event_counts("a") == {"metric": 300}
    assert len(ledger.metrics("a")) == 300
    assert len(ledger.jobs()) == 1
