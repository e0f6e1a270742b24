"""Prefect's automations: from a file, the same after any number of times, and harmless."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from commands import ROOT, environment, shared_server
from prefect.events.schemas.automations import EventTrigger, Posture

from flows import automations

HEARTBEAT = 180.0


def test_no_automation_changes_a_run_and_none_is_quicker_than_three_heartbeats() -> None:
    found = automations.read({name: uuid4() for name in automations.started()})
    assert len(found) == 2
    for automation in found:
        assert automation.name.startswith(automations.OURS)
        assert [action.type for action in automation.actions] == ["run-deployment"]
        trigger = automation.trigger
        assert isinstance(trigger, EventTrigger)
        if trigger.posture is Posture.Proactive:
            assert trigger.within.total_seconds() > 3 * HEARTBEAT
            # A run that waits for a person gives no sign of life and is not stuck.
            assert {"prefect.flow-run.Suspended", "prefect.flow-run.Paused"} <= trigger.expect


@pytest.mark.slow
def test_applying_them_again_changes_nothing(home: Path, migrated: Path) -> None:
    shutil.copytree(migrated / "prefect", home / "prefect")
    with shared_server(home) as url:

        def run(*command: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True,
                env=environment(home, PREFECT_API_URL=url, PREFECT_HOME=str(home / "prefect")),
                timeout=300, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        run("prefect", "--no-prompt", "work-pool", "create", "brightrun-local", "--type", "process")
        run("prefect", "--no-prompt", "deploy", "--name", "reap")
        assert run("flows.automations").count("created brightrun: ") == 2
        assert run("flows.automations") == "nothing to change\n"
