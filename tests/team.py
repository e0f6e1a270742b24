"""A team's control plane on this machine, with the settings of deployments/docker-compose.yaml.

Prefect on a real Postgres and a real Redis, and stations that can be killed like a machine that
loses its power.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from commands import ROOT, environment
from postgres_server import Postgres
from waiting import until

from flows import worker
from flows.server import free_port
from flows.worker import environment_of

COMPOSE = ROOT / "deployments" / "docker-compose.yaml"


def compose() -> dict[str, Any]:
    found = yaml.safe_load(COMPOSE.read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def prefect_settings(place: Path, postgres: str, redis: str, port: int) -> dict[str, str]:
    """The server's of the compose file, with this machine's addresses in the place of its own."""
    here = {
        "PREFECT_HOME": str(place),
        "PREFECT_API_DATABASE_CONNECTION_URL": postgres.replace(
            "postgresql://", "postgresql+asyncpg://"
        ),
        "PREFECT_REDIS_MESSAGING_URL": f"{redis}/0",
        "PREFECT_SERVER_DOCKET_URL": f"{redis}/1",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
    }
    known = compose()["x-prefect"]
    assert {name for name, value in known.items() if "/" in value} == set(here)
    return {**known, **here}


@contextmanager
def prefect_server(place: Path, databases: Postgres, redis: str) -> Iterator[str]:
    """API and services, each a process of its own; yields the API's URL."""
    place.mkdir(parents=True)
    port = free_port()
    settings = prefect_settings(place, databases.fresh(), redis, port)
    environ = {**environment(place), **settings}
    programs = {name: compose()["services"][name]["command"] for name in ("server", "services")}
    programs["server"] = [*programs["server"], "--port", str(port)]
    programs = {
        name: [{"0.0.0.0": "127.0.0.1"}.get(word, word) for word in words]
        for name, words in programs.items()
    }
    running, url = [], f"http://127.0.0.1:{port}/api"
    try:
        for name, command in programs.items():
            own = command[:2] == ["python", "-m"]
            program = [sys.executable, "-m", *(command[2:] if own else command)]
            with (place / f"{name}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(program, env=environ, stdout=log, stderr=log, cwd=ROOT)
                )
            until(lambda: answers(url), 180, f"Prefect answers, see {place}")
        yield url
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


class Station:
    """`python -m flows.station` with its worker and its runs."""

    def __init__(self, home: Path, log: Path, **more: str) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.station"], cwd=ROOT, env=environment(home, **more),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def members(self) -> list[psutil.Process]:
        """Workers and runs; not the pods, which are elsewhere in production."""
        mine = f"{self.process.pid}-"
        every = psutil.process_iter()
        return [p for p in every if environment_of(p).get(worker.MARK, "").startswith(mine)]

    def kill(self) -> set[int]:
        """SIGKILL to all of it at once; the pids."""
        found = self.members()
        os.kill(self.process.pid, signal.SIGKILL)
        for process in found:
            process.kill()
        self.process.wait()
        psutil.wait_procs(found, timeout=10)
        return {self.process.pid, *(process.pid for process in found)}

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


@contextmanager
def stations(home: Path, number: int, **more: str) -> Iterator[list[Station]]:
    running = [Station(home, home / f"station-{n}.log", **more) for n in range(number)]
    try:
        yield running
    finally:
        for station in running:
            station.stop()


def pods_of(home: Path) -> list[int]:
    """Pids of living pods of that home."""
    every = ((process.pid, environment_of(process)) for process in psutil.process_iter())
    pods = ((pid, known) for pid, known in every if "BRIGHTRUN_POD" in known)
    return [pid for pid, known in pods if str(home) in known.get("STORAGE_URL", "")]
