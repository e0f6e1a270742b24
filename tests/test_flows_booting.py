"""What a run of the deployment does first: a cancel that came while it started holds, what is not
here is a failed job that people are told of."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from commands import shared_server
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from brightrun import ownmachine
from brightrun.context import open_job
from brightrun.errors import BrightRunError, ConfigurationError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.prices import H100_PCIE, H100_SXM
from brightrun.settings import load
from brightrun.stopping import JobCancelled
from flows import cli_train, handing, lifecycle, retry, running, steer, ui_runs
from flows.cli import app
from tasks.people import notify

REQUEST = JobRequest(training_file="f.json")
SECOND = timedelta(seconds=1)


@pytest.fixture
def submitted(home: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A job that was handed to the deployment; its run is starting and cannot be reached."""
    monkeypatch.setattr(running, "server_for", lambda settings: None)
    ledger = Ledger.open(load())
    ledger.create_job("j1", REQUEST)
    ledger.update_job("j1", flow_run_id=str(uuid4()))
    return ledger


def cancelled() -> datetime:
    """`brightrun cancel`, confirmed; returns when."""
    said = CliRunner().invoke(app, ["cancel", "j1", "--by", "Ann"])
    assert said.exit_code == 0, said.output
    stop = open_job("j1").folder.stop_request()
    assert stop is not None
    return datetime.fromisoformat(stop["at"])


def boots() -> None:
    """The run's own beginning; what would come after it is not reached by a cancelled job."""
    with lifecycle.driving(REQUEST, "j1"):
        lifecycle.begin("j1")
        raise AssertionError("it went on")


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(uuid4()))


@pytest.mark.parametrize("status", [Status.created, Status.awaiting_approval, Status.paused])
def test_a_confirmed_cancel_holds_while_the_run_starts(submitted: Ledger, status: Status) -> None:
    submitted.update_job("j1", status=status)
    cancelled()
    with pytest.raises(JobCancelled, match="cancelled by Ann"):
        boots()
    row = submitted.job("j1")
    assert (row.status, row.claim) == ("cancelled", None)
    assert row.error is not None
    assert "cancelled by Ann" in row.error["message"]
    assert open_job("j1").folder.stop_request() is not None


def test_a_paused_job_whose_run_took_it_before_the_cancel_was_written_ends_too(
    submitted: Ledger,
) -> None:
    submitted.update_job("j1", status=Status.paused)
    open_job("j1").folder.request_stop("cancel", "Ann")
    with pytest.raises(JobCancelled):
        boots()
    assert submitted.job("j1").status == "cancelled"


def test_the_run_itself_ends_as_cancelled(
    submitted: Ledger, deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = cancelled()
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid4()))
    monkeypatch.setattr(ui_runs, "asked_at", lambda run: at - SECOND)
    boots()
    state = lifecycle.outcome("j1")
    assert isinstance(state, State)
    assert state.is_cancelled()
    assert "cancelled by Ann" in str(state.message)


def test_a_run_that_was_asked_for_after_the_cancel_goes_on(
    submitted: Ledger, deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = cancelled()
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid4()))
    monkeypatch.setattr(ui_runs, "asked_at", lambda run: at + SECOND)
    with lifecycle.driving(REQUEST, "j1"):
        lifecycle.begin("j1")
    assert submitted.job("j1").status == "created"
    assert open_job("j1").folder.stop_request() is None


def test_resume_overrules_the_cancel_before_it_and_not_the_one_after_it(submitted: Ledger) -> None:
    cancelled()
    cli_train.resumed("j1")
    with lifecycle.driving(REQUEST, "j1"):
        lifecycle.begin("j1")
    assert submitted.job("j1").status == "created"
    cancelled()
    with pytest.raises(JobCancelled):
        boots()


def test_a_pause_of_a_job_whose_run_waits_for_a_worker_holds(
    submitted: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver died and the run was put back; it began, forgot the pause, and rented."""
    told: list[str] = []
    monkeypatch.setattr(lifecycle, "notify", lambda job_id, what: told.append(what))
    submitted.update_job("j1", status=Status.running)
    said = CliRunner().invoke(app, ["pause", "j1", "--by", "Ann"])
    assert said.exit_code == 0, said.output
    boots()  # and goes no further
    row = submitted.job("j1")
    assert (row.status, row.claim, row.error, told) == ("paused", None, None, ["paused"])
    assert (open_job("j1").folder.stop_request() or {})["reason"] == "pause"
    cli_train.resumed("j1")
    with lifecycle.driving(REQUEST, "j1"):
        lifecycle.begin("j1")
    assert submitted.job("j1").status == "created"


def handing_over_fails(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def silent(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(handing, "run_deployment", silent)


def test_a_run_whose_submission_got_no_answer_spends_nothing_when_it_starts_later(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "server_for", lambda settings: None)
    monkeypatch.setattr("flows.server.ensure", lambda settings: None)
    handing_over_fails(monkeypatch, httpx.ReadTimeout("no answer"))
    with pytest.raises(httpx.ReadTimeout):
        running.submit(REQUEST, "j1")
    assert Ledger.open(load()).job("j1").status == "cancelled"
    with pytest.raises(JobCancelled, match="no answer to its submission"):
        boots()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (httpx.ReadTimeout("no answer"), "cancelled"),
        (ObjectNotFound(http_exc=httpx.HTTPError("no such deployment")), "failed"),
    ],
)
def test_a_retry_from_the_form_that_cannot_be_handed_over_stands_in_nobodys_way(
    submitted: Ledger, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    submitted.update_job("j1", status=Status.failed)
    handing_over_fails(monkeypatch, error)
    with pytest.raises(type(error)):
        retry.retry.fn(retry.RetryRequest(job="j1"))
    (new,) = (row for row in submitted.jobs(None) if row.parent_job_id == "j1")
    assert new.status == status
    assert new.error is not None
    asked = open_job(new.job_id).folder.stop_request()
    assert (asked or {}).get("reason") == ("cancel" if status == "cancelled" else None)
    assert submitted.not_ended(REQUEST.training_file, REQUEST.training_file, "content") == ""


def test_a_retry_from_the_form_knows_its_run(
    submitted: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FlowRun(flow_id=uuid4())
    submitted.update_job("j1", status=Status.failed)
    monkeypatch.setattr(handing, "run_deployment", lambda *_, **__: run)
    found = retry.retry.fn(retry.RetryRequest(job="j1"))
    row = submitted.job(found["job_id"])
    assert (row.status, row.parent_job_id, row.flow_run_id) == ("created", "j1", str(run.id))


def wishes() -> list[JobRequest]:
    absent = next(g for g in (H100_PCIE, H100_SXM) if g not in ownmachine.gpus_here())
    return [REQUEST.model_copy(update=u) for u in ({"gpu": absent}, {"template": "never saved"})]


@pytest.mark.parametrize("which", [0, 1], ids=["gpu", "template"])
def test_what_the_form_cannot_have_is_a_failed_job_that_people_are_told_of(
    home: Path, deployed: None, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    told: list[str] = []

    def telling(job_id: str, what: str) -> None:
        notify.fn(job_id, what)
        told.append(what)

    monkeypatch.setattr(lifecycle, "notify", telling)
    wish = wishes()[which]

    def runs() -> None:
        with lifecycle.driving(wish, "j2"):
            lifecycle.begin("j2")
            raise AssertionError("it went on")

    for _ in range(2):  # and so does its retry
        with pytest.raises(BrightRunError, match="there is no") as refused:
            runs()
        row = open_job("j2").ledger.job("j2")
        assert (row.status, row.claim) == ("failed", None)
        assert row.error is not None
        assert row.error["message"] == refused.value.message
    assert told == ["failed", "failed"]


def test_a_template_that_was_saved_after_the_refusal_needs_a_new_run(
    home: Path, deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "notify", lambda job_id, what: None)
    wish = wishes()[1]
    with pytest.raises(ConfigurationError), lifecycle.driving(wish, "j2"):
        lifecycle.begin("j2")
    kept: dict[str, Any] = {"preset": "demo"}
    open_job("j2").ledger.save_template("never saved", kept, by="Ann", notes="")
    with pytest.raises(ConfigurationError) as refused, lifecycle.driving(wish, "j2"):
        lifecycle.begin("j2")
    assert refused.value.fix == "start a new run"


def test_the_terminal_is_refused_before_a_job_is_made(home: Path) -> None:
    for wish in wishes():
        with pytest.raises(BrightRunError, match="there is no"), lifecycle.driving(wish, "j2"):
            raise AssertionError("it was driven")
    assert Ledger.open(load()).jobs(None) == ()


def paused_by_form(job_id: str) -> None:
    steer.pause.fn(steer.PauseRequest(job=job_id))


def paused_in_terminal(job_id: str) -> None:
    said = CliRunner().invoke(app, ["pause", job_id])
    assert said.exit_code == 0, said.output


@pytest.mark.slow
@pytest.mark.heavy
def test_a_run_knows_when_it_was_asked_for_and_one_that_waits_ends_with_cancel_and_pause(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui_runs, "_reachable", bool)
    with (
        shared_server(home) as url,
        temporary_settings({PREFECT_API_URL: url}),
        httpx.Client(base_url=url, timeout=60) as api,
    ):

        def post(path: str, body: dict[str, Any]) -> Any:
            answer = api.post(path, json=body)
            answer.raise_for_status()
            return answer.json()

        flow = post("/flows/", {"name": "finetune"})["id"]
        run = post("/flow_runs/", {"flow_id": flow, "state": {"type": "SCHEDULED"}})
        submitted_at = datetime.fromisoformat(run["state"]["timestamp"])
        for type_, name in (("SCHEDULED", "Late"), ("PENDING", "Pending")):
            state = {"type": type_, "name": name}
            post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
        asked = ui_runs.asked_at(run["id"])
        assert asked is not None
        assert abs(asked - submitted_at) < timedelta(milliseconds=1)
        ui_runs.cancel_waiting(run["id"])
        assert api.get(f"/flow_runs/{run['id']}").json()["state"]["type"] == "CANCELLED"
        ledger = Ledger.open(load())
        for number, pause in enumerate((paused_by_form, paused_in_terminal), 1):
            waits = {"type": "SCHEDULED", "name": "GoesOn"}
            run = post("/flow_runs/", {"flow_id": flow, "state": waits})
            ledger.create_job(f"j{number}", REQUEST)
            ledger.update_job(f"j{number}", status=Status.running, flow_run_id=run["id"])
            pause(f"j{number}")
            state = api.get(f"/flow_runs/{run['id']}").json()["state"]
            assert (state["type"], state["message"][:6]) == ("CANCELLED", "paused")
            assert ledger.job(f"j{number}").status == "paused"
        own = post("/flow_runs/", {"flow_id": flow, "state": {"type": "PENDING"}})
        assert ui_runs.asked_at(own["id"]) is None
