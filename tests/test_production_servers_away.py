"""Prefect's Redis, then its Postgres, stop while a job trains and come back: the job ends well."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil
import pytest
from commands import furnish, ledger_at, small_file
from redis_server import BINARY, MISSING, redis_server
from team import pods_of, prefect_server, stations
from test_production_stations import drives_a_pod, set_up, states, submit
from waiting import until

from brightrun.ledger import Ledger
from flows.reviving import losses

AWAY_S = 45

pytestmark = [
    pytest.mark.slow,
    pytest.mark.heavy,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(BINARY is None, reason=MISSING),
    pytest.mark.skipif(
        find_spec("prefect_redis") is None, reason="not run: prefect-redis is missing (make setup)"
    ),
]


@contextmanager
def stopped(server: psutil.Process, command: list[str]) -> Iterator[None]:
    """The server is gone for the block, and started again by its command."""
    user = server.uids().effective
    server.send_signal(signal.SIGINT)  # Postgres: without waiting for its clients
    server.wait(60)
    yield
    again = subprocess.Popen(
        command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    BACK.append(again)


def running(name: str, word: str) -> psutil.Process:
    """The one process of that name with this word in its command line."""
    every = [p for p in psutil.process_iter() if p.name() == name]
    (found,) = [p for p in every if word in " ".join(p.cmdline()).replace(":", " ").split()]
    return found


BACK: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    for process in BACK:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def start_a_run(url: str) -> str:
    """The id of a run of `reap`; HTTPStatusError."""
    found = httpx.get(f"{url}/deployments/name/reap/reap", timeout=60).raise_for_status().json()
    made = httpx.post(f"{url}/deployments/{found['id']}/create_flow_run", json={}, timeout=60)
    return str(made.raise_for_status().json()["id"])


def goes_through(url: str) -> bool:
    """Whether a run can be started, and ends well within its time."""
    try:
        run = start_a_run(url)
    except httpx.HTTPError:
        return False
    place = f"{url}/flow_runs/{run}"
    until(
        lambda: httpx.get(place, timeout=60).raise_for_status().json()["state_type"] == "COMPLETED",
        600, "the new run",
    )  # fmt: skip
    return True


def is_final(book: Ledger, job: str) -> bool:
    return book.job(job).is_final


def test_a_job_goes_on_when_prefects_redis_and_its_postgres_were_away(
    tmp_path: Path, models: Path
) -> None:
    from postgres_server import postgres_server

    home, file = furnish(tmp_path / "home", models), small_file(tmp_path)
    with (
        postgres_server(tmp_path / "ledger") as ledgers,
        postgres_server(tmp_path / "postgres") as databases,
        redis_server(tmp_path / "redis") as redis,
        prefect_server(tmp_path / "prefect", databases, redis) as url,
    ):
        where = {"DATABASE_URL": ledgers.fresh(), "BRIGHTRUN_PREFECT_URL": url}
        where["BRIGHTRUN_POOL"] = "brightrun-team"
        set_up(home, where)
        book = ledger_at(home, where["DATABASE_URL"])
        with stations(home, 1, **where) as (station,):
            port, place = redis.rpartition(":")[2], str(tmp_path / "postgres")
            cache, database = running("redis-server", port), running("postgres", place)
            again = [str(BINARY), "--bind", "127.0.0.1", "--port", port, "--dir",
                     str(tmp_path / "redis")]  # fmt: skip
            for number, outage in enumerate(
                (stopped(cache, again), stopped(database, database.cmdline()))
            ):
                job = submit(url, file, number)
                until(partial(drives_a_pod, book, station), 600, "the job has its pod")
                with outage:
                    with pytest.raises(httpx.HTTPStatusError, match="500"):
                        start_a_run(url)
                    time.sleep(AWAY_S)
                    assert httpx.get(f"{url}/health", timeout=60).status_code == 200
                until(partial(goes_through, url), 600, "a run that is started again")
                until(partial(is_final, book, job), 1500, "the job")
                row = book.job(job)
                print(
                    number, row.status, [a.outcome for a in book.attempts(job)], losses(book, job)
                )
                assert row.status == "completed", row.error
            # A run that ends meanwhile cannot write its end; the station sets it right.
            until(
                lambda: states(url, "finetune") == ["COMPLETED"] * 2, 600, "both runs show the end"
            )
        assert book.open_attempts() == ()
        assert book.open_holds(datetime.now(UTC)) == ()
        assert pods_of(home) == []
