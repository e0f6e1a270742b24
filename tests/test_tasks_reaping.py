"""The reaper's task and command on the local provider: a real process that nobody drives."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brightrun.compute.local import LocalProvider
from brightrun.compute.provider import LaunchRequest
from brightrun.context import JobContext, open_job
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load
from flows.cli import app
from tasks import reaping

POD = "br-j1-1-abc"


@pytest.fixture
def orphan(home: Path) -> LocalProvider:
    """The pod of a job that has ended."""
    settings = load()
    ledger = Ledger.open(settings)
    ledger.create_job("j1", JobRequest(training_file="f.json"))
    ledger.update_job("j1", status="failed")
    JobContext(settings, ledger, "j1").folder.write_json(
        "attempts/1/launch.json", {"resumes_from": 0}
    )
    ledger.add_attempt(
        "j1", 1, provider="local", market="on_demand", pod_name=POD,
        usd_per_hour=Decimal("0.5"), launched_at=datetime.now(UTC),
    )  # fmt: skip
    asleep = (sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)")
    pods = LocalProvider(home / "pods", asleep)
    pods.launch(LaunchRequest(name=POD, environment={}))
    return pods


def test_the_task_ends_a_pod_without_a_live_job(orphan: LocalProvider) -> None:
    (found,) = reaping.reap.fn("local", False)
    assert (found["pod"], found["gone"], found["why"]) == (POD, True, "its job is over")
    assert orphan.find(POD) is None
    (attempt,) = open_job("j1").ledger.attempts("j1")
    assert attempt.ended_at is not None


@pytest.mark.parametrize("command", ["reap", "reconcile"])
def test_open_books_at_an_account_without_its_key_are_no_all_clear(
    home: Path, command: str
) -> None:
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="f.json", provider="runpod"))
    ledger.add_attempt(
        "j1", 1, provider="runpod", market="spot", pod_name=POD, usd_per_hour=Decimal(2),
        launched_at=datetime.now(UTC),
    )  # fmt: skip
    done = CliRunner().invoke(app, [command])
    assert done.exit_code == 1
    assert "there is no key for RunPod" in done.stderr
    assert "No pod of ours" not in done.stderr


def test_the_command_shows_then_ends(orphan: LocalProvider) -> None:
    shown = CliRunner().invoke(app, ["reap", "--dry-run", "--json"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["pods"][0]["gone"] is None
    assert orphan.find(POD) is not None
    ended = CliRunner().invoke(app, ["reap", "--json"])
    assert ended.exit_code == 0
    assert [p["gone"] for p in json.loads(ended.stdout)["pods"]] == [True]
    assert orphan.find(POD) is None
    assert "No pod of ours" in CliRunner().invoke(app, ["reap"]).stderr
