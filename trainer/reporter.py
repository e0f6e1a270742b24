"""The pod's events: queued by any thread, written by one, heartbeat every 5 seconds."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from brightrun.errors import BrightRunError
from brightrun.runfolder import EventType, EventWriter, RunFolder
from trainer import hardware, health, telemetry

# Beyond so many events that could not be written (a few MB), only what cannot be told again is
# taken in. A pod gives up long before: 30 minutes bring about 400 steps at most of a real model.
MOST_PENDING = 20_000
INDISPENSABLE = ("stage", "checkpoint", "warning", "error")
FLUSH_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0


class Reporter:
    """What the trainer tells the world. Nothing here waits for the storage, except `flush`."""

    def __init__(
        self, folder: RunFolder, attempt: int, expected: dict[str, float], speaks: bool = True
    ) -> None:
        # Of several processes one speaks; what the others would tell is dropped.
        self.speaks = speaks
        self.writer = EventWriter(folder, attempt)
        self.expected = expected
        self.seconds: dict[str, float] = {}
        self.stage_name = "starting"
        self.step = 0
        self._queue: queue.SimpleQueue[tuple[EventType, dict[str, Any]]] = queue.SimpleQueue()
        self._away = self._told = False
        self._dropped = 0
        self._flushing = threading.Lock()
        self._closed = threading.Event()

    def start(self) -> None:
        self._heartbeat()
        health.beat()
        self.try_flush()
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def add(self, type_: EventType, payload: dict[str, Any]) -> None:
        """Queue an event. A storage that is away delays events; it loses none that matter."""
        pending = self._queue.qsize() + len(self.writer.pending)
        if pending >= MOST_PENDING and type_ not in INDISPENSABLE:
            self._dropped += 1
            return
        self._queue.put((type_, payload))

    def warn(self, code: str, message: str, cause: str = "", fix: str = "", **numbers: Any) -> None:
        """A warning event (`numbers` are further fields of it), and in the log with cause, mend and
        place; `code` is the fault's name where there is one."""
        told = BrightRunError(message, cause=cause, fix=fix, fault=code)
        print(f"warning: {told}", flush=True)
        self.add("warning", {**_words(told), "code": code, **numbers})

    def error(self, error: BrightRunError) -> None:
        self.add("error", _words(error))

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Events at the start and end of a stage; the yielded dict is the end's `detail`."""
        begun, worked = time.monotonic(), hardware.cpu_seconds()
        self.stage_name = name
        print(f"stage {name}", flush=True)
        common = {"name": name, "expected_s": self.expected.get(name)}
        self.add("stage", {**common, "status": "started", "elapsed_s": 0.0, "detail": {}})
        detail: dict[str, Any] = {}
        yield detail
        elapsed = round(time.monotonic() - begun, 3)
        self.seconds[name] = elapsed
        took = {"elapsed_s": elapsed, "cpu_s": round(hardware.cpu_seconds() - worked, 3)}
        self.add("stage", {**common, "status": "finished", **took, "detail": detail})

    def skip(self, name: str, why: str) -> None:
        """The event of a stage whose work an earlier attempt has finished."""
        print(f"stage {name} skipped: {why}", flush=True)
        payload = {"name": name, "status": "skipped", "expected_s": self.expected.get(name)}
        self.add("stage", {**payload, "elapsed_s": 0.0, "detail": {"why": why}})

    def flush(self) -> None:
        """Write all events so far; after an exception of the storage they are still there."""
        with self._flushing:
            with contextlib.suppress(queue.Empty):
                while True:
                    told = self._queue.get_nowait()
                    if self.speaks:
                        self.writer.add(*told)
            self._away = True
            self.writer.flush()
            self._away = False
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.warn("events_dropped", f"{dropped} events were dropped while the storage was away")

    def close(self) -> None:
        """Stop the heartbeat and write the last events."""
        self._closed.set()
        self.flush()

    def _run(self) -> None:
        beat = time.monotonic()
        while not self._closed.wait(FLUSH_SECONDS):
            health.beat()
            if time.monotonic() - beat >= HEARTBEAT_SECONDS:
                beat = time.monotonic()
                # A sign of life that nobody can see is not worth keeping.
                if not self._away:
                    self._heartbeat()
            self.try_flush()

    def _heartbeat(self) -> None:
        payload = {
            "stage": self.stage_name,
            "step": self.step,
            "memory_mb": hardware.memory_mb(),
            "free_mb": hardware.available_memory_mb(),
            "gpu_percent": telemetry.gpu_percent(),
        }
        self.add("heartbeat", payload)

    def try_flush(self) -> None:
        """Like `flush`, but a storage that is away only delays the events."""
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 every kind of storage raises its own
            if not self._told:
                self._told = True
                print(f"events are kept back: {error}", flush=True)
        else:
            self._told = False


def _words(error: BrightRunError) -> dict[str, Any]:
    """What an event says of an error or a warning."""
    told = error.as_dict()
    return {name: told[name] for name in ("code", "message", "cause", "fix", "fault")}
