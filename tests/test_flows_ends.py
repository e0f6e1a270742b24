"""Every end of a flow releases the pod, however often it is told; a pause is no failure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fakes.clock import ManualClock
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Crashed, Failed
from typer.testing import CliRunner

from brightrun import steering
from brightrun.compute.local import LocalProvider
from brightrun.compute.provider import LaunchRequest
from brightrun.context import JobContext, driver_name, open_job
from brightrun.errors import ConfigurationError, DatasetError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load
from brightrun.stopping import JobPaused
from flows import lifecycle, steer, sweeper
from flows.cli import app
from flows.finetune import finetune
from tasks import pod as pod_tasks

POD = "br-j1-1-abc"
REQUEST = JobRequest(training_file="f.json")


@pytest.fixture
def pods(home: Path) -> Iterator[LocalProvider]:
    """A job that runs, with a pod that does nothing but live; nobody drives it."""
    settings = load()
    ledger = Ledger.open(settings)
    ledger.create_job("j1", REQUEST)
    ledger.update_job("j1", status="running")
    job = JobContext(settings, ledger, "j1")
    job.folder.write_json("attempts/1/launch.json", {"resumes_from": 0})
    ledger.add_attempt(
        "j1", 1, provider="local", market="on_demand", pod_name=POD,
        usd_per_hour=Decimal("0.5"), launched_at=datetime.now(UTC),
    )  # fmt: skip
    asleep = (sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)")
    local = LocalProvider(home / "pods", asleep)
    local.launch(LaunchRequest(name=POD, environment={}))
    yield local
    local.terminate(POD)


def outcomes() -> list[str]:
    return [a.outcome for a in open_job("j1").ledger.attempts("j1")]


@pytest.mark.parametrize(
    ("end", "status"),
    [(Cancelled(), "cancelled"), (Crashed(), "failed"), (Failed(), "failed")],
    ids=["cancelled", "crashed", "failed"],
)
def test_the_hook_of_every_end_releases_the_pod_once(
    pods: LocalProvider, end: State[Any], status: str
) -> None:
    run = FlowRun(flow_id=uuid4(), parameters={"job_id": "j1"})
    lifecycle.release_pods(finetune, run, end)
    first = open_job("j1").ledger.attempts("j1")
    lifecycle.release_pods(finetune, run, end)
    assert pods.find(POD) is None
    assert open_job("j1").ledger.attempts("j1") == first
    assert first[0].ended_at is not None
    assert open_job("j1").ledger.job("j1").status == status


@pytest.mark.parametrize("end", [Cancelled(), Failed()], ids=["cancelled", "failed"])
def test_the_hook_leaves_a_job_that_another_machine_has_taken_over(
    pods: LocalProvider, end: State[Any]
) -> None:
    """Also when that one's clock is behind and its claim looks old."""
    job, ago = open_job("j1"), datetime.now(UTC) - timedelta(hours=1)
    assert job.ledger.claim("j1", "elsewhere:1", pid=1, host="elsewhere", now=ago)
    lifecycle.release_pods(finetune, FlowRun(flow_id=uuid4(), parameters={"job_id": "j1"}), end)
    assert pods.find(POD) is not None
    assert job.ledger.job("j1").status == "running"


def test_the_flow_has_a_hook_for_every_bad_end() -> None:
    for hooks in (
        finetune.on_cancellation_hooks, finetune.on_crashed_hooks, finetune.on_failure_hooks,
    ):  # fmt: skip
        assert [hook.__name__ for hook in hooks or []] == ["release_pods"]


def raises(error: BaseException) -> Callable[..., None]:
    def broken(*args: Any, **more: Any) -> None:
        raise error

    return broken


@pytest.mark.parametrize(
    "error",
    [DatasetError("bad"), ZeroDivisionError(), KeyboardInterrupt(), TerminationSignal(signal=15)],
    ids=["known", "unforeseen", "ctrl-c", "sigterm"],
)
def test_whatever_interrupts_the_driver_the_pod_goes(
    pods: LocalProvider, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The pod is adopted by this process, which is then interrupted while it follows it."""
    job = open_job("j1")
    job.ledger.claim("j1", driver_name())
    job.folder.write_json("gate.json", {"hard_limit_usd": 1.0})
    monkeypatch.setattr("brightrun.attempts.follow", raises(error))
    with pytest.raises(type(error)):
        pod_tasks.train.fn("j1")
    assert pods.find(POD) is None
    assert len(outcomes()) == 1
    assert open_job("j1").ledger.open_attempts() == ()


def test_a_retry_of_a_completed_jobs_run_does_nothing_and_tells_nobody(home: Path) -> None:
    """Prefect's button, on a run that could not say that its job completed."""
    ledger = Ledger.open(load())
    ledger.create_job("j1", REQUEST)
    ledger.update_job("j1", status="completed")
    before = ledger.job("j1").finished_at
    found = finetune.fn(REQUEST, "j1")
    assert isinstance(found, dict)
    assert found["status"] == "completed"
    assert ledger.job("j1").finished_at == before
    assert ledger.events("j1") == ()


def at_the_gate(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> tuple[ManualClock, JobContext]:
    """A job whose Prefect answers so, one after the other, to what was said in the form."""
    ledger, clock, given = Ledger.open(load()), ManualClock(), iter(answers)
    ledger.create_job("j1", REQUEST)
    job = JobContext(load(), ledger, "j1")
    vars(job)["clock"] = clock
    monkeypatch.setattr(lifecycle, "open_job", lambda job_id: job)

    def read(name: str) -> Any:
        if isinstance(found := next(given), Exception):
            raise found
        return found

    monkeypatch.setattr(lifecycle, "read_flow_run_input", read)
    return clock, job


def refusal(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://prefect/api")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status))


def test_a_job_at_the_gate_outlives_a_server_that_is_away(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = (refusal(500), httpx.ConnectError("nobody"), refusal(503))
    clock, job = at_the_gate(monkeypatch, *away, {"approve": True})
    assert lifecycle.ask("j1") == {"approve": True}
    assert len(clock.sleeps) == len(away)
    assert [event.payload["code"] for event in job.ledger.events("j1")] == ["outage", "outage"]


def test_what_the_server_refuses_at_the_gate_is_no_outage(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, _ = at_the_gate(monkeypatch, refusal(422))
    with pytest.raises(httpx.HTTPStatusError):
        lifecycle.ask("j1")
    assert clock.sleeps == []


def test_a_paused_job_waits_and_is_no_failure(
    pods: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(lifecycle, "notify", lambda job_id, what: told.append(what))
    pods.terminate(POD)
    with lifecycle.driving(REQUEST, "j1"):
        raise JobPaused("job j1 is paused: its newest checkpoint is kept")
    row = open_job("j1").ledger.job("j1")
    assert told == ["paused"]
    assert (row.status, row.error, row.finished_at, row.claim) == ("paused", None, None, None)
    state = lifecycle.outcome("j1")
    assert isinstance(state, State)
    assert (state.name, state.is_completed()) == ("Paused", True)
    assert "train --resume j1" in str(state.message)
    shown = CliRunner().invoke(app, ["wait", "j1"])
    assert shown.exit_code == 3
    assert "paused" in shown.stdout

    def goes_on() -> None:
        with lifecycle.driving(REQUEST, "j1"):
            lifecycle.begin("j1")
            assert open_job("j1").ledger.job("j1").status == "created"
            raise DatasetError("the end of this test")

    with pytest.raises(DatasetError, match="the end of this test"):
        goes_on()


def test_pause_ends_a_pod_that_nobody_drives_in_terminal_and_form(
    pods: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.sweeper.SAVING_SECONDS", 0.2)
    told = steer.pause.fn(steer.PauseRequest(job="j1"))
    assert told == {"job_id": "j1", "status": "paused"}
    assert pods.find(POD) is None
    assert open_job("j1").folder.stop_request() is not None
    refused = CliRunner().invoke(app, ["pause", "j1"])
    assert "it waits and costs nothing" in str(refused.exception)


def test_the_cancel_form_ends_a_pod_that_nobody_drives_and_says_what_is_kept(
    pods: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.sweeper.SAVING_SECONDS", 0.2)
    monkeypatch.setattr(steer.leaving, "tell", steer.leaving.tell.fn)
    told = steer.cancel.fn(steer.CancelRequest(job="j1", by="Ann"))
    assert (told["job_id"], told["status"], told["checkpoints"]) == ("j1", "cancelled", [])
    assert told["spent_usd"] > 0
    assert told["kept"].endswith("spent; kept: the checked data and the estimate")
    assert pods.find(POD) is None
    asked = open_job("j1").folder.stop_request() or {}
    assert (asked["reason"], asked["by"]) == ("cancel", "Ann")
    with pytest.raises(ConfigurationError, match="job j1 is already cancelled"):
        steer.cancel.fn(steer.CancelRequest(job="j1"))


def test_the_cancel_form_asks_a_driven_pod_to_save_and_leaves_its_end_to_the_driver(
    pods: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(steer.leaving, "tell", steer.leaving.tell.fn)
    monkeypatch.setattr(steer.leaving.story, "tell", told.append)
    job = open_job("j1")
    assert job.ledger.claim("j1", "elsewhere:1", pid=1, host="elsewhere")
    assert steer.cancel.fn(steer.CancelRequest(job="j1"))["status"] == "running"
    assert pods.find(POD) is not None
    assert (job.folder.stop_request() or {})["reason"] == "cancel"
    assert told[0].startswith("Job j1 is being cancelled, its pod saves a checkpoint and goes; so")


@pytest.mark.parametrize("command", ["pause", "cancel"])
def test_a_job_that_completes_while_it_is_being_stopped_stays_completed(
    pods: LocalProvider, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Its driver said the last word after the command had looked, and before it took the job."""
    job, ask = open_job("j1"), getattr(steering, command)
    done = datetime(2026, 11, 22, tzinfo=UTC)

    def slowly(*wish: Any) -> None:
        ask(*wish)
        job.ledger.update_job("j1", status="completed", finished_at=done)

    monkeypatch.setattr("flows.sweeper.SAVING_SECONDS", 0.2)
    monkeypatch.setattr(steering, command, slowly)
    said = CliRunner().invoke(app, [command, "j1"])
    assert "Already completed: j1: " in said.output
    row = job.ledger.job("j1")
    assert (row.status, row.finished_at, row.claim) == ("completed", done, None)
    assert not sweeper.end_undriven(job, Status.cancelled)
    assert job.ledger.job("j1").status == "completed"


def test_the_form_goes_on_with_a_paused_job_in_a_run_of_its_own(
    pods: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def deployed(name: str, *, parameters: dict[str, Any], **more: Any) -> FlowRun:
        asked.append((name, parameters))
        return FlowRun(flow_id=uuid4())

    monkeypatch.setattr(steer, "run_deployment", deployed)
    with pytest.raises(ConfigurationError, match="there is nothing to go on with"):
        steer.resume.fn(steer.ResumeRequest(job="j1"))
    job = open_job("j1")
    job.ledger.update_job("j1", status="paused")
    steer.resume.fn(steer.ResumeRequest(job="j1"))
    ((name, parameters),) = asked
    assert name == "finetune/finetune"
    assert parameters["job_id"] == "j1"
    assert JobRequest.model_validate(parameters["request"]) == REQUEST
