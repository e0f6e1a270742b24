"""A job that was handed to the deployment is known before a worker takes it up."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest
from commands import brightrun, furnish, ledger, shared_server, small_file, train_options

from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load
from flows.lifecycle_ids import submitted


def test_a_job_waits_for_a_worker_from_its_submission_to_its_claim(home: Path) -> None:
    known = Ledger.open(load())
    known.create_job("j1", JobRequest(training_file="f.json"))
    assert submitted(known.job("j1")) == ""
    known.update_job("j1", flow_run_id="a-run")
    assert "waits for a worker" in submitted(known.job("j1"))
    assert known.claim("j1", "a driver")
    assert submitted(known.job("j1")) == ""
    known.release_claim("j1", "a driver")
    known.update_job("j1", status=Status.failed)
    assert submitted(known.job("j1")) == ""


@pytest.mark.slow
@pytest.mark.heavy
def test_a_detached_job_without_a_worker_is_shown_waited_for_and_cancelled(
    home: Path, models: Path, migrated: Path, tmp_path: Path
) -> None:
    furnish(home, models, migrated)
    file = str(small_file(tmp_path))
    sends = ("train", file, *train_options(), "--detach", "--yes", "--json")
    with shared_server(home) as url:
        failed = brightrun(home, *sends)
        assert failed.code == 1  # nothing is deployed yet
        (row,) = ledger(home).jobs(None)
        assert (row.status, failed.err.split()[1]) == ("failed", row.job_id)
        shutil.rmtree(home / "jobs", ignore_errors=True)
        assert brightrun(home, "setup", "--prefect-url", url, "--json").code == 0
        sent = brightrun(home, *sends)
        assert sent.code == 0, sent.err
        job_id, run = sent.json["job_id"], sent.json["flow_run_url"].rpartition("/")[2]
        shown = brightrun(home, "show", job_id, "--json").json
        assert (shown["status"], "waits for a worker" in shown["waits"]) == ("created", True)
        assert job_id in brightrun(home, "jobs", "--json").out
        waited = brightrun(home, "wait", job_id, "--timeout", "0.1")
        assert waited.code == 1
        assert "submitted, waits for a worker" in waited.err
        assert "is still created" in waited.err
        assert brightrun(home, "cancel", job_id, "--json").json["status"] == "cancelled"
        state = httpx.get(f"{url}/flow_runs/{run}").json()["state"]["type"]
        assert state == "CANCELLED"
