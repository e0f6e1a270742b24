"""When the cards of a running job are rewritten, by a clock that the test moves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import prefect.settings
import pytest
from fakes.clock import START, ManualClock
from fakes.compute import FakeProvider
from without_ledger import WithoutLedger

from brightrun import following
from brightrun.context import JobContext
from brightrun.errors import BrightRunError, LedgerAway, SpotInterrupted
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.runfolder import Event, EventWriter
from brightrun.settings import load
from tasks import artifacts, board, results, story
from trainer import reporter


class Shelf:
    """Prefect's side: the newest text of every card, and how often each was rewritten."""

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.texts: dict[str, str] = {}
        self.rewritten: list[str] = []

    def publish(self, key: str, markdown: str, description: str) -> UUID:
        made = uuid4()
        self.names[made], self.texts[key] = key, markdown
        return made

    def rewrite(self, artifact: UUID, markdown: str) -> None:
        self.texts[self.names[artifact]] = markdown
        self.rewritten.append(self.names[artifact])


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    found = Shelf()
    monkeypatch.setattr(artifacts, "publish", found.publish)
    monkeypatch.setattr(artifacts, "rewrite", found.rewrite)
    return found


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(story, "tell", lambda line, level=story.INFO: lines.append(line))
    return lines


@pytest.fixture
def job(home: Path) -> JobContext:
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="f.json"))
    ledger.update_job("j1", status="running")
    found = JobContext(ledger.settings, ledger, "j1")
    vars(found).update(clock=ManualClock())
    return found


def happen(job: JobContext, seq: int, type_: str, **payload: Any) -> None:
    row = {"seq": seq, "ts": START + timedelta(seconds=seq), "attempt": 1, "type": type_}
    job.ledger.ingest("j1", [Event.model_validate({**row, "payload": payload})])


def step(job: JobContext, number: int) -> None:
    happen(job, number, "metric", step=number, total_steps=9, epoch=0.1, loss=9.0 - number)


def launched(job: JobContext) -> board.Board:
    facts = {"pod": "br-j1-1-x", "price": {"usd_per_hour": 0.5}, "resumes_from": 0}
    job.folder.write_json("attempts/1/launch.json", facts)
    found = board.Board(job)
    found.tick(1)
    return found


def test_cards_are_rewritten_every_minute_and_show_what_came_meanwhile(
    job: JobContext, shelf: Shelf
) -> None:
    shown = launched(job)
    step(job, 1)
    job.clock.sleep(59)
    shown.tick(1)
    assert shelf.rewritten == []
    job.clock.sleep(1)
    shown.tick(1)
    assert sorted(shelf.rewritten) == ["loss-curve", "progress"]
    assert "step 1 of 9" in shelf.texts["progress"]
    for _ in range(60):
        job.clock.sleep(1)
        shown.tick(1)
    assert len(shelf.rewritten) == 4


def test_a_stage_that_begins_or_ends_rewrites_the_cards_at_once(
    job: JobContext, shelf: Shelf
) -> None:
    shown = launched(job)
    happen(job, 1, "stage", name="training", status="started", expected_s=20)
    job.clock.sleep(1)
    shown.tick(1)
    assert sorted(shelf.rewritten) == ["loss-curve", "progress"]


def test_steps_are_told_every_few_seconds_and_the_newest_is_not_lost(
    job: JobContext, shelf: Shelf, said: list[str]
) -> None:
    shown = launched(job)
    for number in (1, 2, 3):
        step(job, number)
        shown.tick(1)
        job.clock.sleep(1)
    told = [line for line in said if "step" in line and "loss" in line]
    assert told == ["Pod 1: step 1 of 9, loss 8.000"]
    job.clock.sleep(board.STEP_SECONDS)
    shown.tick(1)
    assert said[-1] == "Pod 1: step 3 of 9, loss 6.000"


def test_the_end_of_a_pod_leaves_the_cards_up_to_date(job: JobContext, shelf: Shelf) -> None:
    with board.watched(job) as shown:
        step(job, 2)
    assert shown.seen > 0
    assert "step 2 of 9" in shelf.texts["progress"]


def test_a_ledger_that_is_away_when_a_pod_ends_costs_a_card_and_hides_nothing(
    job: JobContext, shelf: Shelf
) -> None:
    def lost() -> None:
        WithoutLedger(job, back=3600)
        raise SpotInterrupted("gone")

    with pytest.raises(SpotInterrupted, match="gone"), board.watched(job):
        lost()
    assert shelf.rewritten == []


def test_a_ledger_that_is_away_when_a_board_is_made_is_waited_for(
    job: JobContext, shelf: Shelf
) -> None:
    clock = WithoutLedger(job, back=300)
    with board.watched(job):
        assert set(shelf.texts) == {"progress", "loss-curve"}
    assert clock.monotonic() >= 300


def test_an_event_is_in_the_ledger_and_told_at_most_ten_seconds_after_it_was_written(
    job: JobContext, shelf: Shelf, said: list[str]
) -> None:
    """The control plane's part by a clock that only its own pauses move, and all waits together."""
    clock = job.clock
    written: dict[int, float] = {}
    taken: dict[int, float] = {}
    told: dict[int, float] = {}

    def pod(environment: dict[str, str]) -> Iterator[None]:
        writer = EventWriter(job.folder, 1)
        for number in range(1, 31):
            writer.add("metric", {"step": number, "total_steps": 30, "epoch": 0.1, "loss": 2.0})
            writer.flush()
            written[number] = clock.monotonic()
            yield
        job.folder.write_json("attempts/1/_DONE", {})

    provider = FakeProvider()
    provider.running["p1"] = pod({})
    vars(job).update(provider=provider)
    attempt = job.ledger.add_attempt(
        "j1", 1, provider="local", market="spot", pod_name="p1", usd_per_hour=Decimal("0.5"),
        launched_at=clock.now(),
    )  # fmt: skip
    shown = launched(job)

    def tick(number: int) -> None:
        shown.tick(number)
        for event in job.ledger.events("j1", 1):
            taken.setdefault(event.payload["step"], clock.monotonic())
        steps = [int(found[1]) for line in said if (found := re.search(r"step (\d+) of 30", line))]
        for step in range(1, max(steps, default=0) + 1):
            told.setdefault(step, clock.monotonic())

    following.follow(job, attempt, tick)
    late = {number: taken[number] - written[number] for number in taken}
    assert len(late) >= 29
    assert max(late.values()) <= following.POLL_SECONDS
    slowest = max(told[number] - written[number] for number in told)
    assert len(told) >= 25
    assert slowest <= board.STEP_SECONDS + following.POLL_SECONDS
    to_the_page = prefect.settings.PREFECT_LOGGING_TO_API_BATCH_INTERVAL.value()
    assert reporter.FLUSH_SECONDS + slowest + to_the_page < 10


def test_the_card_is_rewritten_when_a_stage_after_the_pod_begins_and_ends(
    job: JobContext, shelf: Shelf
) -> None:
    with board.stage(job, "report", "reporting"):
        assert re.search(r"Report[ |]+running", shelf.texts["progress"])
    assert re.search(r"Report[ |]+finished", shelf.texts["progress"])


@pytest.mark.parametrize("name", ["evaluate", "report", "package"])
def test_every_stage_after_the_pod_has_its_card_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The stage fails at its first work; by then the card has to show it as the one that runs."""
    ledger = Ledger.open(load())
    ledger.create_job("j2", JobRequest(training_file="f.json"))
    shelf = Shelf()
    monkeypatch.setattr(artifacts, "publish", shelf.publish)
    stage = {
        "evaluate": results.evaluate, "report": results.report, "package": results.package_adapter,
    }[name]  # fmt: skip
    with pytest.raises((BrightRunError, OSError)):
        stage.fn("j2")
    assert re.search(rf"{name.title()}[ |]+running", shelf.texts["progress"])


def test_a_ledger_that_is_away_costs_a_stage_its_card_only(job: JobContext, shelf: Shelf) -> None:
    def away(*what: object) -> None:
        raise LedgerAway("gone")

    published, artifacts.publish = artifacts.publish, away
    try:
        with board.stage(job, "report", "reporting"):
            pass
    finally:
        artifacts.publish = published
    assert job.progress().stage == "report"
