"""The fake's pods: each is a process of its own, started from the environment it was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from brightrun.clock import Clock

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")
# The pod's environment -> the command that is its image's entry point and its environment here.
EntryPoint = Callable[[dict[str, str]], tuple[Sequence[str], dict[str, str]]]


@dataclass
class Machine:
    """`ended`: its process is over or was never to be; `removed`: it is in the account no more."""

    id: str
    name: str
    wanted: dict[str, Any]
    place: str
    usd_per_hour: float
    market: str
    created: datetime
    fault: str = ""
    process: subprocess.Popen[bytes] | None = None
    started: datetime | None = None
    ended: datetime | None = None
    removed: datetime | None = None

    @property
    def gpu(self) -> str:
        return str(self.wanted["gpu"]["id"])

    @property
    def count(self) -> int:
        return int(self.wanted["gpu"].get("count", 1))

    @property
    def on_volume(self) -> bool:
        return bool(self.wanted.get("mounts", {}).get("network"))


@dataclass
class Machines:
    """boot_s: virtual seconds from create to running; exits_after_s: of the fault `exits`."""

    entry_point: EntryPoint
    clock: Clock
    console: Path
    boot_s: float = 0.0
    exits_after_s: float = 1.0
    kill_after_s: float = 5.0

    def status(self, machine: Machine) -> str:
        """PodStatus now; starts the process when its time has come."""
        now = self.clock.now()
        if machine.removed:
            return "TERMINATED"
        if machine.fault == "provisioning_forever":
            return "PROVISIONING"
        if machine.fault == "error":
            return "ERROR"
        if machine.ended:
            return "EXITED"
        age = (now - machine.created).total_seconds()
        if age < self.boot_s:
            return "PROVISIONING" if age < self.boot_s / 2 else "STARTING"
        if machine.process is None:
            self._start(machine, now)
        assert machine.process is not None
        assert machine.started is not None
        due = machine.started + timedelta(seconds=self.exits_after_s)
        if machine.fault == "exits" and now >= due:
            self._signal(machine, signal.SIGKILL)
            machine.process.wait()
        if machine.process.poll() is not None:
            machine.ended = now
            return "EXITED"
        return "RUNNING"

    def stop(self, machine: Machine, *, wait: bool = False) -> None:
        """SIGTERM, and SIGKILL to all of it some seconds later."""
        if machine.process is None:
            return
        self._signal(machine, signal.SIGTERM)
        grim = threading.Thread(target=self._kill_later, args=(machine,), daemon=True)
        grim.start()
        if wait:
            grim.join()

    def _kill_later(self, machine: Machine) -> None:
        assert machine.process is not None
        with suppress(subprocess.TimeoutExpired):
            machine.process.wait(self.kill_after_s)
        self._signal(machine, signal.SIGKILL)
        machine.process.wait()

    def _start(self, machine: Machine, now: datetime) -> None:
        inherited = {k: os.environ[k] for k in INHERITED if k in os.environ}
        command, environment = self.entry_point(dict(machine.wanted.get("env", {})))
        with (self.console / f"{machine.name}-{machine.id}.log").open("ab") as console:
            machine.process = subprocess.Popen(
                command,
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        machine.started = now

    def _signal(self, machine: Machine, number: signal.Signals) -> None:
        assert machine.process is not None
        with suppress(ProcessLookupError):
            os.killpg(machine.process.pid, number)
