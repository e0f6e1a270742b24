"""Runs of the deployments without a browser: by the calls that Prefect's buttons make, and by
`--detach`. Slow: a server and a worker for each test.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import ui_browser as ui
from commands import brightrun, furnish, ledger, run_folder, small_file, steps, train_options
from waiting import until

from flows.worker import environment_of

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_run_is_cancelled_at_the_gate_retried_and_rejected(
    tmp_path: Path, models: Path, migrated: Path
) -> None:
    home = furnish(tmp_path / "home", models, migrated)
    with ui.make_ui(home) as running:
        cancel_retry_and_reject(running, home, small_file(tmp_path))
    assert ui.processes_of(home) == []


def cancel_retry_and_reject(running: ui.Ui, home: Path, file: Path) -> None:
    asked = {"training_file": str(file), "preset": "demo", "base_model": "tiny", "name": "Other"}
    run = running.start("finetune", {"request": asked})
    job_id = str(running.wait_for(run, "Suspended", seconds=90)["name"]).split()[0]

    running.set_state(run, "CANCELLING", "Cancelling")
    running.wait_for(run, "Cancelled", seconds=30)
    until(lambda: ledger(home).job(job_id).status == "cancelled", 40, "the job's books are closed")
    error = ledger(home).job(job_id).error
    assert error is not None
    assert f"train --resume {job_id}" in error["fix"]

    running.set_state(run, "SCHEDULED", "AwaitingRetry")
    running.wait_for(run, "Suspended", seconds=90)
    assert ledger(home).job(job_id).status == "awaiting_approval"

    # Cancelled in the terminal, and retried after that: whoever spoke last decides.
    assert brightrun(home, "cancel", job_id, "--json").json["status"] == "cancelled"
    assert running.wait_for(run, "Cancelled", seconds=30)["state_type"] == "CANCELLED"
    running.set_state(run, "SCHEDULED", "AwaitingRetry")
    running.wait_for(run, "Suspended", seconds=90)
    assert ledger(home).job(job_id).status == "awaiting_approval"

    running.resume(run, {"approve": False, "approver": "Bea", "note": "not now"})
    assert running.wait_for(run, "Rejected", seconds=90)["state_type"] == "COMPLETED"
    row, word = ledger(home).job(job_id), ledger(home).approval(job_id)
    assert word is not None
    assert (row.status, word.approved, word.approver) == ("rejected", False, "Bea")
    assert ledger(home).attempts(job_id) == ()


def test_estimate_alone_and_a_detached_job_whose_process_is_killed_and_retried(
    tmp_path: Path, models: Path, migrated: Path
) -> None:
    home, file = furnish(tmp_path / "home", models, migrated), small_file(tmp_path)
    with ui.make_ui(home) as running:
        estimate_alone(running, file)
        until(lambda: scheduled(running, "reap"), 60, "the schedule has made a run")
        job_id = kill_and_retry(running, home, file)
    assert ledger(home).open_attempts() == ()
    assert [a.outcome for a in ledger(home).attempts(job_id)][-1] == "done"
    assert ui.processes_of(home) == []


def test_the_form_cancels_a_job_whose_pod_saves_first(
    tmp_path: Path, models: Path, migrated: Path
) -> None:
    home, file = furnish(tmp_path / "home", models, migrated), small_file(tmp_path)
    wish = train_options(epochs=20, checkpoint_steps=1000, checkpoint_minutes=60)
    with ui.make_ui(home) as running:
        sent = brightrun(home, "train", str(file), *wish, "--detach", "--yes")
        assert sent.code == 0, sent.err
        job_id, run = sent.json["job_id"], sent.json["flow_run_url"].rpartition("/")[2]
        folder = run_folder(home, job_id)
        until(lambda: steps(folder, 1), 240, "a step of the pod")
        asked = running.start("cancel", {"request": {"job": job_id, "by": "Ann"}})
        running.wait_for(asked, "Completed", seconds=90)
        ended = until(lambda: over(running, run), 180, "the job's run has ended")
        (card,) = running.artifacts(asked)
    assert (ended["name"], ledger(home).job(job_id).status) == ("Cancelled", "cancelled")
    assert "spent; kept: " in card["data"]
    assert f"Job {job_id}" in card["data"]
    assert folder.marker(1) == ("_STOPPED.json", {"reason": "cancel", "by": "Ann"})
    assert max(folder.checkpoints()) == max(steps(folder, 1))
    assert ledger(home).open_attempts() == ()


def over(running: ui.Ui, run: str) -> dict[str, Any] | None:
    """The run's last state, once it has one."""
    found = running.api(f"/flow_runs/{run}")["state"]
    return dict(found) if found["type"] in ("COMPLETED", "CANCELLED", "FAILED", "CRASHED") else None


def scheduled(running: ui.Ui, name: str) -> bool:
    """Whether a schedule has made runs of that deployment; nobody asked for them."""
    asked = {"deployments": {"name": {"any_": [name]}}, "limit": 20}
    return any(run["auto_scheduled"] for run in running.api("/flow_runs/filter", asked))


def estimate_alone(running: ui.Ui, file: Path) -> None:
    """All presets and markets in one table, and nothing started."""
    asked = {"training_file": str(file), "base_model": "tiny"}
    run = running.start("estimate", {"request": asked})
    running.wait_for(run, "Completed", seconds=120)
    (card,) = running.artifacts(run)
    for preset in ("demo", "conservative", "balanced", "aggressive"):
        assert preset in card["data"]
    assert "spot" in card["data"]
    assert "on\\_demand" in card["data"]
    assert ledger(running.home).jobs() == ()


def kill_and_retry(running: ui.Ui, home: Path, file: Path) -> str:
    """`--detach` answers at once; the run's process is killed in mid-training and retried, and
    then its worker is killed."""
    sent = brightrun(home, "train", str(file), *train_options(epochs=12), "--detach", "--yes")
    assert sent.code == 0, sent.err
    assert set(sent.json) >= {"job_id", "flow_run_url"}
    job_id, run = sent.json["job_id"], sent.json["flow_run_url"].rpartition("/")[2]
    until(lambda: ledger(home).attempts(job_id), 120, "the worker rents the first pod")
    folder = run_folder(home, job_id)
    until(lambda: steps(folder, 1), 120, "a step of the first pod")
    os.kill(flow_process(run).pid, signal.SIGKILL)
    until(lambda: running.api(f"/flow_runs/{run}")["state"]["type"] == "CRASHED", 60, "it is told")
    running.set_state(run, "SCHEDULED", "AwaitingRetry")
    until(lambda: running.api(f"/flow_runs/{run}")["state"]["type"] == "RUNNING", 60, "it goes on")
    flow = flow_process(run)
    flow.parent().kill()  # a worker that is killed runs no hook, and its runs go on without it
    assert flow.is_running()
    waited = brightrun(home, "wait", job_id, "--json")
    assert (waited.code, waited.json["status"]) == (0, "completed"), waited.err
    begun = [
        event.payload["name"]
        for event in ledger(home).events(job_id, 0, "stage")
        if event.payload["status"] == "started"
    ]
    assert begun == ["validate", "plan", "estimate", "evaluate", "report", "package"]
    every = [step for attempt in folder.attempts() for step in steps(folder, attempt)]
    assert every == sorted(set(every))
    return str(job_id)


def flow_process(run: str) -> Any:
    """The worker's process of a flow run, known by its environment."""
    for process in psutil.process_iter():
        its = environment_of(process).get("PREFECT__FLOW_RUN_ID", "")
        if its.replace("-", "") == run.replace("-", ""):
            return process
    raise AssertionError(f"no process runs {run}")
