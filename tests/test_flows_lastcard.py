"""The card that a run is left with: it says how its job ended, with nothing left to wait for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fakes import loopback
from fakes.loopback import Quiet
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Crashed

from brightrun.context import JobContext, open_job
from brightrun.errors import DatasetError, LedgerAway
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load
from brightrun.stopping import JobCancelled, JobPaused
from flows import lifecycle, sweeper
from flows.finetune import finetune
from flows.lastcard import last_card

RUN = str(uuid4())
REQUEST = JobRequest(training_file="f.json")


class Cards:
    """Prefect's shelf of one run's cards, by its HTTP API."""

    def __init__(self) -> None:
        self.text = "Training | running | 33%, about 4 min left"
        self.made = 0
        self.id = "c1"


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    shelf = Cards()

    class Handler(Quiet):
        def body(self) -> dict[str, Any]:
            return dict(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode() if status != 204 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            said = self.body()
            if self.path == "/api/artifacts/filter":
                wanted = said["artifacts"]
                mine = wanted["key"] == {"any_": ["progress"]}
                mine = mine and wanted["flow_run_id"] == {"any_": [RUN]}
                self.answer(200, [{"id": shelf.id}] if mine and shelf.id else [])
            elif self.path == "/api/artifacts/" and said["flow_run_id"] == RUN:
                shelf.text, shelf.id, shelf.made = said["data"], "c2", shelf.made + 1
                self.answer(201, {"id": "c2"})
            else:
                self.answer(404, {})

        def do_PATCH(self) -> None:
            assert self.path == f"/api/artifacts/{shelf.id}"
            shelf.text = self.body()["data"]
            self.answer(204, None)

    with loopback.serving(Handler) as root:
        monkeypatch.setenv("PREFECT_API_URL", f"{root}/api")
        yield shelf


@pytest.fixture
def job(home: Path, monkeypatch: pytest.MonkeyPatch) -> JobContext:
    """In the midst of its training."""
    ledger = Ledger.open(load())
    ledger.create_job("j1", REQUEST)
    ledger.update_job("j1", status="running", flow_run_id=RUN)
    found = JobContext(ledger.settings, ledger, "j1")
    found.note("stage", {"name": "training", "status": "started"})
    monkeypatch.setattr(lifecycle, "claim", lambda job: None)  # outside of a run it knows no id
    monkeypatch.setattr(lifecycle, "notify", lambda job_id, what: None)
    return found


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (DatasetError("pair #47 has no target"), "failed: pair #47 has no target"),
        (ZeroDivisionError("by 0"), "failed: ZeroDivisionError: by 0"),
        (JobCancelled("cancelled by Ann"), "cancelled: cancelled by Ann"),
        (KeyboardInterrupt(), "cancelled: "),
        (JobPaused("paused by Ann"), "paused"),
    ],
    ids=["failed", "unforeseen", "cancelled", "ctrl-c", "paused"],
)
def test_every_end_of_a_driven_run_is_on_its_card(
    job: JobContext, cards: Cards, error: BaseException, says: str
) -> None:
    with suppress(type(error)), lifecycle.driving(REQUEST, "j1"):
        raise error
    assert f"- {says}" in cards.text.replace("\\", "")
    assert "0 s left" in cards.text
    assert "about" not in cards.text.split("|")[0]
    assert "running" not in cards.text
    assert cards.made == 0


def test_a_rejected_run_that_had_no_card_gets_one(job: JobContext, cards: Cards) -> None:
    cards.id = ""
    with lifecycle.driving(REQUEST, "j1"):
        job.ledger.update_job("j1", status="rejected")
    assert "- rejected" in cards.text
    assert "0 s left" in cards.text
    assert cards.made == 1


def test_a_run_that_waits_or_goes_on_elsewhere_keeps_its_card(
    job: JobContext, cards: Cards
) -> None:
    before = cards.text
    with lifecycle.driving(REQUEST, "j1"):
        job.ledger.update_job("j1", status="awaiting_approval")
    assert cards.text == before


@pytest.mark.parametrize(
    ("state", "says"), [(Cancelled(), "cancelled"), (Crashed(), "failed")], ids=["cancel", "crash"]
)
def test_a_run_whose_process_is_gone_has_its_card_from_who_closes_the_books(
    job: JobContext, cards: Cards, state: Any, says: str
) -> None:
    lifecycle.release_pods(finetune, FlowRun(flow_id=uuid4(), parameters={"job_id": "j1"}), state)
    assert f"- {says}: " in cards.text
    assert "running" not in cards.text


def test_a_job_that_is_paused_while_nobody_drives_it_says_so(job: JobContext, cards: Cards) -> None:
    assert sweeper.end_undriven(job, Status.paused)
    assert "- paused" in cards.text
    assert "0 s left" in cards.text


def test_a_prefect_that_is_away_costs_the_card_and_nothing_else(
    job: JobContext, cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", os.environ["PREFECT_API_URL"] + "/gone")
    with pytest.raises(DatasetError, match="pair #47"), lifecycle.driving(REQUEST, "j1"):
        raise DatasetError("pair #47 has no target")
    assert "about 4 min left" in cards.text
    row = open_job("j1").ledger.job("j1")
    assert (row.status, row.claim) == ("failed", None)


def test_a_ledger_that_is_away_costs_the_card_and_nothing_else(
    job: JobContext, cards: Cards, caplog: pytest.LogCaptureFixture
) -> None:
    class Away:
        def job(self, job_id: str) -> None:
            raise LedgerAway("gone")

    last_card(JobContext(job.settings, Away(), "j1"))  # type: ignore[arg-type]
    assert "about 4 min left" in cards.text
    assert "not written" in caplog.text
