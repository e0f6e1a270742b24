"""Prefect on a real Postgres and a real Redis, two stations, twenty jobs, one station is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from commands import ROOT, SMALL, environment, furnish, ledger_at, run_folder, small_file, steps
from redis_server import BINARY, MISSING, redis_server
from team import Station, pods_of, prefect_server, stations
from waiting import until

from brightrun.ledger import Ledger
from flows.reviving import losses

JOBS = 20
FINISHED_BEFORE = 4  # jobs that are done when the station is killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.heavy,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(BINARY is None, reason=MISSING),
    pytest.mark.skipif(
        find_spec("prefect_redis") is None, reason="not run: prefect-redis is missing (make setup)"
    ),
]


def set_up(home: Path, where: dict[str, str]) -> None:
    """`brightrun setup`: ledger, work pool, deployments, automations; twice, the second is idle."""
    for state in ("done", "ok"):
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", "setup", "--json"], cwd=ROOT,
            env=environment(home, **where), capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = {row["name"]: row["state"] for row in json.loads(done.stdout)["findings"]}
        assert found.get("deployments") == state, found


def submit(url: str, file: Path, number: int) -> str:
    """As the user's application does; the job's id."""
    found = httpx.get(f"{url}/deployments/name/finetune/finetune").raise_for_status().json()
    wish: dict[str, Any] = {
        "training_file": str(file), "preset": "demo", "base_model": "tiny",
        "confirm": "above_limits", "name": f"Job {number}",
        "overrides": {**SMALL, "epochs": 1, "seed": number},
    }  # fmt: skip
    asked = {"parameters": {"request": wish}}
    made = httpx.post(f"{url}/deployments/{found['id']}/create_flow_run", json=asked, timeout=30)
    return "ui-" + made.raise_for_status().json()["id"].replace("-", "")[:10]


def states(url: str, flow: str) -> list[str]:
    asked = {"flows": {"name": {"any_": [flow]}}, "limit": 200}
    found = httpx.post(f"{url}/flow_runs/filter", json=asked, timeout=30).raise_for_status()
    return [run["state_type"] for run in found.json()]


def drives_a_pod(book: Ledger, station: Station) -> bool:
    hers = {process.pid for process in station.members()}
    return any(
        row.claim is not None
        and row.claim.pid in hers
        and any(attempt.ended_at is None for attempt in book.attempts(row.job_id))
        for row in book.jobs(None)
    )


def test_twenty_jobs_outlive_a_station(tmp_path: Path, models: Path) -> None:
    from postgres_server import postgres_server

    home, file = furnish(tmp_path / "home", models), small_file(tmp_path)
    with (
        postgres_server(tmp_path / "postgres") as databases,
        redis_server(tmp_path / "redis") as redis,
        prefect_server(tmp_path / "prefect", databases, redis) as url,
    ):
        where = {"DATABASE_URL": databases.fresh(), "BRIGHTRUN_PREFECT_URL": url}
        where["BRIGHTRUN_POOL"] = "brightrun-team"
        set_up(home, where)
        book = ledger_at(home, where["DATABASE_URL"])

        def ended(status: str) -> list[str]:
            return [row.job_id for row in book.jobs(None) if row.status == status]

        with stations(home, 2, **where, BRIGHTRUN_WORKER_RUNS="2") as (first, _):
            began = time.monotonic()
            jobs = [submit(url, file, number) for number in range(JOBS)]
            until(lambda: len(ended("completed")) >= FINISHED_BEFORE, 900, "the first jobs")
            until(lambda: drives_a_pod(book, first), 300, "the first station drives a pod")
            killed = first.kill()
            done_before, killed_at = len(ended("completed")), time.monotonic()
            orphans = {
                row.job_id
                for row in book.jobs(None)
                if row.claim and row.claim.pid in killed and not row.is_final
            }
            assert orphans
            until(lambda: len(ended("completed")) == JOBS or ended("failed"), 2400, "all jobs")
            assert ended("failed") == []
            took, after = time.monotonic() - began, time.monotonic() - killed_at
            until(lambda: states(url, "finetune") == ["COMPLETED"] * JOBS, 60, "Prefect says so")
            assert "COMPLETED" in states(url, "reap")  # it did not wait until the jobs were done
        assert sorted(ended("completed")) == sorted(jobs)
        assert book.open_attempts() == ()
        assert book.open_holds(datetime.now(UTC)) == ()
        assert pods_of(home) == []
        lost = {job: len(losses(book, job)) for job in jobs}
        assert {job for job, number in lost.items() if number} == orphans
        outcomes = {job: [a.outcome for a in book.attempts(job)] for job in jobs}
        assert {found[-1] for found in outcomes.values()} == {"done"}
        for job in jobs:
            folder = run_folder(home, job)
            every = [step for attempt in folder.attempts() for step in steps(folder, attempt)]
            assert every == sorted(set(every))
        print(
            json.dumps(
                {
                    "jobs": JOBS,
                    "seconds": round(took),
                    "seconds_after_the_kill": round(after),
                    "done_before_the_kill": done_before,
                    "processes_killed": len(killed),
                    "orphans": {job: outcomes[job] for job in sorted(orphans)},
                }
            )
        )
