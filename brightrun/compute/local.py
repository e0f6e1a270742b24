"""The local provider: a pod is a process of its own on this machine.

It inherits nothing but its environment and the run folder, so that what works here works on a
rented machine. A small file per pod (pid and start time) lets another process find it again; a
pod whose launcher died before it wrote the file is found by its environment (BRIGHTRUN_POD).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psutil

from brightrun.compute import localbill
from brightrun.compute.provider import Billed, LaunchRequest, Manners, Offer, Pod
from brightrun.errors import CapacityError
from brightrun.settings import CHECKOUT

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
             "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # fmt: skip
# The trainer ends within 5 seconds of SIGTERM.
TERM_GRACE_SECONDS = 6.0
KILL_GRACE_SECONDS = 5.0
POD_VARIABLE = "BRIGHTRUN_POD"
PROCESSES_VARIABLE = "BRIGHTRUN_PROCESSES"


class LocalProvider:
    """Pods as processes; `records` is the folder of their small files.

    usd_per_hour is notional: `billing` counts with it, and nobody sends an invoice.
    """

    manners = Manners()

    def __init__(
        self,
        records: Path,
        command: tuple[str, ...] = (sys.executable, "-m", "trainer"),
        *,
        usd_per_hour: Decimal = Decimal(0),
    ) -> None:
        self.records, self.usd_per_hour = records, usd_per_hour
        self.command = command
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def offers(self, gpu_count: int = 1) -> tuple[Offer, ...]:
        return ()  # one kind of pod, at the notional price of the estimate

    def launch(self, request: LaunchRequest) -> Pod:
        self.records.mkdir(parents=True, exist_ok=True)
        inherited = {k: os.environ[k] for k in INHERITED if k in os.environ}
        mine = {**inherited, **request.environment, POD_VARIABLE: request.name}
        mine |= {name: value.get_secret_value() for name, value in request.secrets.items()}
        with (self.records / f"{request.name}.log").open("wb") as console:
            try:
                child = subprocess.Popen(
                    command_of(self.command, mine.get(PROCESSES_VARIABLE, "1")),
                    cwd=CHECKOUT,
                    env=mine,
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
        record = {
            "pid": child.pid,
            "created": psutil.Process(child.pid).create_time(),
            "usd_per_hour": str(self.usd_per_hour),
        }
        place = self.records / f"{request.name}.json"
        temporary = place.with_suffix(".tmp")
        temporary.write_text(json.dumps(record))
        temporary.replace(place)
        return Pod(name=request.name, provider_id=str(child.pid), state="running")

    def learn(self, name: str, pod_id: str) -> None:
        """Nothing: a pod is found by its name."""

    def find(self, name: str) -> Pod | None:
        process = self._process(name)
        if process is None:
            return None
        return Pod(name=name, provider_id=str(process.pid), state="running")

    def list(self, prefix: str) -> list[Pod]:
        names = sorted(p.stem for p in self.records.glob(f"{prefix}*.json"))
        return [pod for name in names if (pod := self.find(name)) is not None]

    def terminate(self, name: str) -> None:
        """SIGTERM to the pod, after a while SIGKILL to it and to all that it has started."""
        process = self._process(name)
        if process is not None:
            _signal(process, signal.SIGTERM)
            _wait(lambda: self._process(name) is None, TERM_GRACE_SECONDS)
        for member in self._belonging(name):
            _signal(member, signal.SIGKILL)
        _wait(lambda: self._process(name) is None and not self._belonging(name), KILL_GRACE_SECONDS)

    def balance(self) -> None:
        return None

    def billing(self, since: datetime) -> tuple[Billed, ...]:
        """From the records of the processes: since when each runs, and when it was seen gone."""
        now = datetime.now(UTC)
        rows = (self._billed(place, now) for place in sorted(self.records.glob("*.json")))
        return tuple(localbill.within(row, since) for row in rows if row.end > since)

    def _billed(self, place: Path, now: datetime) -> Billed:
        record, console = json.loads(place.read_text()), place.with_suffix(".log")
        end = now
        if not self._ended(place.stem).exists() and self._process(place.stem) is None:
            # Nobody saw it end: the last word on its console is the best that is known.
            last = console.stat().st_mtime
            os.utime(self._ended(place.stem), (last, last))
        if self._ended(place.stem).exists():
            end = datetime.fromtimestamp(self._ended(place.stem).stat().st_mtime, UTC)
        return localbill.row_of(place.stem, record, end, self.usd_per_hour)

    def _ended(self, name: str) -> Path:
        """A file that was made when the pod was first seen to be gone."""
        return self.records / f"{name}.ended"

    def data_center(self) -> str:
        return ""

    def volume_gb(self) -> float:
        return 0.0

    def unready(self, request: LaunchRequest) -> tuple[str, ...]:
        return ()

    def _process(self, name: str) -> psutil.Process | None:
        """The live process of a pod; a reused pid or a zombie is not it."""
        if (child := self.children.get(name)) is not None:
            child.poll()  # buries it when it is dead
        try:
            record = json.loads((self.records / f"{name}.json").read_text())
        except FileNotFoundError:
            return min(self._belonging(name), key=lambda p: p.pid, default=None)
        try:
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["created"]) < 1.0
            alive = same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            alive = False
        if not alive:
            with suppress(FileExistsError):
                self._ended(name).touch(exist_ok=False)
            return None
        return process

    def _belonging(self, name: str) -> tuple[psutil.Process, ...]:
        """Live processes that carry the pod's name: it and its helpers (inference.py).

        A process that is giving its memory back shows no environment any more, and is not found
        although it is not gone yet.
        """
        if (child := self.children.get(name)) is not None:
            child.poll()
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(POD_VARIABLE) == name and (
                    process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
        return tuple(found)


def command_of(command: tuple[str, ...], processes: str) -> tuple[str, ...]:
    """The command of a pod: with several processes it is torchrun's, which numbers them, hands
    signals on, and ends all when one fails. Pure."""
    if processes == "1":
        return command
    python, *rest = command
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes)
    return (python, *launcher, *rest)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _wait(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)
