"""The local provider: a pod is a process of its own on this machine.

It inherits nothing but its environment and the run folder, so that what works here works on a
rented machine. A small file per pod (pid and start time) lets another process find it again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from brightrun.compute.provider import LaunchRequest, Pod
from brightrun.errors import CapacityError
from brightrun.settings import CHECKOUT

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
# Idle OpenMP threads sleep instead of spinning: two jobs on few cores do not starve each other.
QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
TERM_GRACE_SECONDS = 6.0


class LocalProvider:
    """Pods as processes; `records` is the folder of their small files."""

    def __init__(self, records: Path) -> None:
        self.records = records
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def launch(self, request: LaunchRequest) -> Pod:
        self.records.mkdir(parents=True, exist_ok=True)
        inherited = {k: os.environ[k] for k in INHERITED if k in os.environ}
        with (self.records / f"{request.name}.log").open("wb") as console:
            try:
                child = subprocess.Popen(
                    [sys.executable, "-m", "trainer"],
                    cwd=CHECKOUT,
                    env={**inherited, **QUIET_THREADS, **request.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise CapacityError(
                    f"cannot start a trainer process: {error.strerror}",
                    fix="free memory or processes on this machine, then resume the job",
                ) from error
        self.children[request.name] = child
        record = {"pid": child.pid, "created": psutil.Process(child.pid).create_time()}
        (self.records / f"{request.name}.json").write_text(json.dumps(record))
        return Pod(name=request.name, provider_id=str(child.pid), state="running")

    def find(self, name: str) -> Pod | None:
        process = self._process(name)
        if process is None:
            return None
        return Pod(name=name, provider_id=str(process.pid), state="running")

    def list(self, prefix: str) -> list[Pod]:
        names = sorted(p.stem for p in self.records.glob(f"{prefix}*.json"))
        return [pod for name in names if (pod := self.find(name)) is not None]

    def terminate(self, name: str) -> None:
        process = self._process(name)
        if process is None:
            return
        self._signal(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + TERM_GRACE_SECONDS
        while time.monotonic() < deadline and self._process(name) is not None:
            time.sleep(0.1)
        if self._process(name) is not None:
            self._signal(process.pid, signal.SIGKILL)
            time.sleep(0.2)

    def _process(self, name: str) -> psutil.Process | None:
        """The live process of a pod; a reused pid or a zombie is not it."""
        if (child := self.children.get(name)) is not None:
            child.poll()
        try:
            record = json.loads((self.records / f"{name}.json").read_text())
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["created"]) < 1.0
            alive = same and process.status() != psutil.STATUS_ZOMBIE
        except (FileNotFoundError, json.JSONDecodeError, psutil.NoSuchProcess):
            return None
        return process if alive else None

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> None:
        """To the pod's whole session: its helpers (inference.py) must not outlive it."""
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return
