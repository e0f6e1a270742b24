"""A few schedules of `make chaos`, and that its judge can find something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chaos_driver import JOB
from chaos_flow import first_victim
from chaos_judge import Result, doubled, result_is_kept, too_far_apart
from chaos_pod import STATE, STEPS, state_after
from chaos_run import legitimate
from chaos_schedule import Event, draw
from fakes.clock import START, ManualClock
from fakes.runpod.bill import Bill, Line

from brightrun.compute.runpod.problems import Denied, NotThere, failure
from brightrun.context import JobContext
from brightrun.errors import ConfigurationError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.runfolder import checkpoint
from brightrun.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def test_five_random_schedules_end_as_they_must() -> None:
    command = [sys.executable, "tests/chaos.py", "--runs", "5", "--workers", "1"]
    mine = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=mine, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["runs"], said["completed"] + said["stopped"]) == (5, 5)
    assert said["faults_injected"] > 10
    assert (said["leaked"], said["double_billed"]) == (0, 0)


def test_a_seed_always_draws_the_same_schedule() -> None:
    assert draw(7) == draw(7) != draw(8)


def test_four_whole_runs_kill_a_flow_a_server_a_worker_and_a_pod() -> None:
    victims = [first_victim(seed, 50) for seed in (50, 100, 150, 200)]
    assert victims == ["flow", "server", "worker", "pod"]


def test_a_request_that_runpod_denies_is_no_legitimate_end() -> None:
    """Our provider tells a 401, 404, 409 or 422 to a create as a fault of the configuration."""
    for status in (401, 404, 409, 422):
        said = failure("POST /v2/pods", status, {}, '{"title": "no"}', creates=True)
        assert isinstance(said, Denied | NotThere)
        assert not legitimate({"code": ConfigurationError.code, "message": said.message})
    preflight = "job job-1 cannot be sent to runpod yet:\n  limit: $0.40 does not pay for it"
    assert legitimate({"code": "configuration", "message": preflight})
    assert legitimate({"code": "cancelled", "message": "stopped by cancel"})
    assert not legitimate({"code": "trainer", "message": "no"})
    assert not legitimate({"status": "hangs", "message": "no word"})


def billed(*pods: tuple[str, float, float | None]) -> Any:
    """An account whose bill has these pods: name, first and last second (None: it runs)."""
    lines = {
        str(number): Line(
            str(number), name, 2_390_000, 0, START + timedelta(seconds=since),
            None if until is None else START + timedelta(seconds=until),
        )
        for number, (name, since, until) in enumerate(pods)
    }  # fmt: skip
    clock = ManualClock()
    clock.sleep(1000)
    return SimpleNamespace(account=SimpleNamespace(bill=Bill(lines=lines)), clock=clock)


def test_the_judge_finds_what_was_billed_twice_at_once_or_for_nobody() -> None:
    known = {"a", "b"}
    assert doubled(billed(("a", 0, 60), ("b", 60, None)), known) == []
    assert doubled(billed(("a", 0, 61), ("b", 60, None)), known) == [
        "a and b billed at the same time"
    ]
    assert doubled(billed(("a", 0, None), ("b", 60, 90)), known) == [
        "a and b billed at the same time"
    ]
    assert doubled(billed(("a", 0, 60), ("a", 60, 90)), known) == ["2 pods billed as a"]
    assert doubled(billed(("a", 0, 60), ("x", 60, 90)), known) == ["billed, but no attempt: x"]


def test_the_judge_finds_a_reckoning_that_no_outage_explains() -> None:
    calm = replace(draw(7), events=())
    away = replace(calm, events=(Event(10.0, "api_away", 300.0),))
    far = Result(7, attempts=1, apart_usd=Decimal("-0.2"))
    assert too_far_apart(far, calm) == [
        "before the bill -0.2 apart, at most 0.082500 can be explained"
    ]
    assert too_far_apart(far, away) == []
    assert too_far_apart(replace(far, undriven_s=300.0), calm) == []
    assert too_far_apart(replace(far, apart_usd=Decimal("0.08")), calm) == []


@pytest.fixture
def job(home: Path) -> JobContext:
    settings = Settings(home=home)
    ledger = Ledger.open(settings)
    ledger.create_job(JOB, JobRequest(training_file="x.json"))
    return JobContext(settings, ledger, JOB)


def test_the_judge_finds_another_adapter(job: JobContext) -> None:
    job.ledger.update_job(JOB, adapter_sha256=state_after(STEPS))
    assert result_is_kept(job, "completed") == []
    job.ledger.update_job(JOB, adapter_sha256="abc")
    assert result_is_kept(job, "completed") == ["another adapter: abc"]


def test_the_judge_finds_a_checkpoint_that_is_gone_or_spoilt(job: JobContext) -> None:
    assert result_is_kept(job, "failed") == []
    job.note("checkpoint", {"step": 4})
    assert result_is_kept(job, "failed") == ["checkpoint 4 was told, [] are there"]
    for state, found in ((state_after(4), []), ("spoilt", ["checkpoint 4 holds another state"])):
        local = job.settings.home / "made"
        local.mkdir(exist_ok=True)
        (local / STATE).write_text(state)
        job.folder.upload_folder(local, checkpoint(4), {})
        assert result_is_kept(job, "failed") == found
