"""The fake's pods in virtual time: a trainer without a model that keeps the run folder's protocol.

Its state after step n is a chain of hashes, so that a resume from a wrong or a damaged checkpoint
gives another adapter. Stops are decided by the trainer's own function.
"""

from __future__ import annotations

import hashlib
import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import faulty_storage  # registers faulty://
from chaos_world import START, World
from fakes.runpod.machines import Machine, Machines

from brightrun.runfolder import DONE, MANIFEST, STOPPED, EventWriter, RunFolder, checkpoint
from brightrun.storagefaults import is_outage
from trainer.control import Stop, decide, grace

assert faulty_storage.ORDERS
STEPS, EVERY, KEPT, ITEMS = 16, 3, 3, 4
STATE = "state.txt"
PULSE = 5.0


def state_after(step: int) -> str:
    """What the trainer's state is after so many steps."""
    state = "0" * 64
    for number in range(1, step + 1):
        state = hashlib.sha256(f"{state} {number}".encode()).hexdigest()
    return state


@dataclass(frozen=True)
class Pace:
    """Virtual seconds of a pod's parts; skew_s: how far its clock is ahead."""

    boot: float = 30.0
    start: float = 10.0
    load: float = 30.0
    step: float = 25.0
    upload: float = 6.0
    item: float = 15.0
    skew_s: float = 0.0


class Told(EventWriter):
    """Events with the time of the pod's own clock."""

    def __init__(self, folder: RunFolder, attempt: int, now: Callable[[], datetime]) -> None:
        super().__init__(folder, attempt)
        self.now = now

    def add(self, type_: Any, payload: dict[str, Any]) -> None:
        super().add(type_, payload)
        self.pending[-1]["ts"] = self.now().isoformat()


class Leave(Exception):
    """The pod has noticed a stop and is at a safe point."""


class PodProcess:
    """What a Popen is to the fake: `poll`, `wait`, and signals."""

    def __init__(self, world: World, pace: Pace, told: dict[str, str]) -> None:
        self.world, self.pace = world, pace
        self.attempt = int(told["BRIGHTRUN_ATTEMPT"])
        self.folder = RunFolder(told["STORAGE_URL"], told["BRIGHTRUN_JOB_ID"])
        self.events = Told(self.folder, self.attempt, self.now)
        self.code: int | None = None
        self.stop: Stop | None = None
        self.doing, self.step = "starting", 0
        self.lease: dict[str, Any] | None = None
        world.live(self.pulse(), self.alive)
        world.live(self.life(), self.alive)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.world.passed + self.pace.skew_s)

    def alive(self) -> bool:
        return self.code is None

    def poll(self) -> int | None:
        return self.code

    def wait(self, timeout: float | None = None) -> int:
        return self.code or 0

    def signal(self, number: int) -> None:
        if self.code is not None:
            return
        if number == signal.SIGKILL:
            self.code = -9
        else:
            self.notice(Stop("sigterm"))

    # --- what runs beside the work ---------------------------------------------------------------
    def pulse(self) -> Iterator[float]:
        """Signs of life, events, control files."""
        while True:
            self.events.add("heartbeat", {"stage": self.doing, "step": self.step, "memory_mb": 1})
            self.flush()
            self.look()
            yield PULSE

    def look(self) -> None:
        asked = None
        with suppress(Exception):
            if self.folder.exists("control/lease.json"):
                self.lease = self.folder.read_json("control/lease.json")
            asked = self.folder.stop_request()
        stop = decide(self.lease, asked, self.now().timestamp(), self.attempt)
        if stop is not None:
            self.notice(stop)

    def notice(self, stop: Stop) -> None:
        if self.stop is None:
            self.stop = stop
            self.world.later(grace(stop.reason, (self.lease or {}).get("seconds", 0.0)), self.end)

    def end(self) -> None:
        """The watcher ends the process: the last complete checkpoint is kept."""
        if self.code is None and self.stop is not None:
            self.flush()
            with suppress(Exception):
                self.mark(STOPPED, self.stop.marker())
            self.code = 0

    def flush(self) -> None:
        with suppress(Exception):
            self.events.flush()

    def mark(self, name: str, content: dict[str, Any]) -> None:
        self.folder.write_json(f"attempts/{self.attempt}/{name}", content)

    # --- the work --------------------------------------------------------------------------------
    def life(self) -> Iterator[float]:
        try:
            yield from self.stages()
        except Leave:
            if self.stop is not None and self.stop.reason != "superseded" and self.step:
                yield from self.save(self.step)
            self.end()

    def stages(self) -> Iterator[float]:
        yield from self.stage("preprocessing", self.pace.start)
        yield from self.stage("model_loading", self.pace.load)
        self.begin("training")
        if not (yield from self.patient(lambda: self.folder.exists(f"adapter/{MANIFEST}"))):
            yield from self.train()
        self.finish("training")
        self.begin("measuring")
        yield from self.measure()
        self.finish("measuring")
        yield from self.stage("finalization", self.pace.start)
        done = {"adapter_sha256": state_after(STEPS), "steps": STEPS}
        yield from self.patient(self.events.flush)
        manifest = yield from self.patient(lambda: self.folder.manifest("adapter"))
        done["adapter_sha256"] = manifest["state"]
        yield from self.patient(lambda: self.mark(DONE, done))
        self.code = 0

    def train(self) -> Iterator[float]:
        state = yield from self.resume()
        while self.step < STEPS:
            yield from self.work(self.pace.step)
            self.step += 1
            state = hashlib.sha256(f"{state} {self.step}".encode()).hexdigest()
            self.state = state
            self.events.add(
                "metric",
                {"step": self.step, "loss": 2 / self.step, "total_steps": STEPS,
                 "seconds": self.pace.step},
            )  # fmt: skip
            if self.step % EVERY == 0 or self.step == STEPS:
                yield from self.save(self.step)
        yield from self.store("adapter", {"state": state})

    def resume(self) -> Iterator[float]:
        """The newest complete checkpoint, its sha256 checked."""
        steps = yield from self.patient(self.folder.checkpoints)
        self.state = state_after(0)
        if steps:
            self.step = steps[-1]
            with tempfile.TemporaryDirectory() as place:
                local = Path(place)
                where = checkpoint(self.step)
                yield from self.patient(lambda: self.folder.download_folder(where, local))
                self.state = (local / STATE).read_text()
        return self.state

    def save(self, step: int) -> Iterator[float]:
        where = checkpoint(step)
        if step in (yield from self.patient(self.folder.checkpoints)):
            return
        yield from self.patient(lambda: self.folder.remove(where))
        yield from self.store(where, {"step": step})
        complete = yield from self.patient(self.folder.checkpoints)
        for old in complete[:-KEPT]:
            yield from self.patient(lambda old=old: self.folder.remove(checkpoint(old)))
        self.events.add(
            "checkpoint", {"step": step, "bytes": 64, "seconds": self.pace.upload, "stalled_s": 0}
        )

    def store(self, where: str, facts: dict[str, Any]) -> Iterator[float]:
        """Files first, the manifest some seconds later."""
        data = self.state.encode()
        yield from self.patient(lambda: self.folder.write_bytes(f"{where}/{STATE}", data))
        yield self.pace.upload
        files = {STATE: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
        manifest = {"files": files, **facts}
        yield from self.patient(lambda: self.folder.write_json(f"{where}/{MANIFEST}", manifest))

    def measure(self) -> Iterator[float]:
        """One line an item; those that are there are kept."""
        name = "measurements/items.jsonl"
        rows = yield from self.patient(lambda: self.folder.read_jsonl(name))
        while len(rows) < ITEMS:
            yield from self.work(self.pace.item)
            rows.append({"item": len(rows), "state": state_after(STEPS)})
            yield from self.patient(lambda: self.folder.write_jsonl(name, rows))
            said = {"stage": "measuring", "what": "questions", "done": len(rows), "total": ITEMS}
            self.events.add("progress", said)

    def stage(self, name: str, seconds: float) -> Iterator[float]:
        self.begin(name)
        yield from self.work(seconds)
        self.finish(name)

    def begin(self, name: str) -> None:
        self.doing = name
        self.events.add("stage", {"name": name, "status": "started", "elapsed_s": 0.0})

    def finish(self, name: str) -> None:
        self.events.add("stage", {"name": name, "status": "finished", "elapsed_s": 1.0})

    def work(self, seconds: float) -> Iterator[float]:
        yield seconds
        if self.stop is not None:
            raise Leave

    def patient(self, ask: Callable[[], Any]) -> Iterator[float]:
        """The answer of a storage that may be away; a successor's folder is not written to."""
        while True:
            if self.stop is not None and self.stop.reason == "superseded":
                raise Leave
            try:
                return ask()
            except Exception as error:
                if not is_outage(error):
                    raise
            yield PULSE


class VirtualMachines(Machines):
    """Pods that live in the world's time."""

    def __init__(self, world: World, pace: Pace, console: Path) -> None:
        super().__init__(lambda env: ((), env), world, console, boot_s=pace.boot)
        self.world, self.pace = world, pace

    def stop(self, machine: Machine, *, wait: bool = False) -> None:
        self._signal(machine, signal.SIGTERM)
        self.world.later(self.kill_after_s, lambda: self._signal(machine, signal.SIGKILL))

    def _start(self, machine: Machine, now: datetime) -> None:
        told = json.loads(json.dumps(machine.wanted.get("env", {})))
        machine.process = PodProcess(self.world, self.pace, told)  # type: ignore[assignment]
        machine.started = now

    def _signal(self, machine: Machine, number: signal.Signals) -> None:
        if machine.process is not None:
            machine.process.signal(number)  # type: ignore[attr-defined]
