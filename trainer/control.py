"""Stop when asked: lease expired, control/stop.json, SIGTERM.

A watcher thread notices within 2 seconds. The training loop ends at its next safe point and saves;
if that takes too long the watcher ends the process itself: the last checkpoint is kept.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brightrun.runfolder import RunFolder

POLL_SECONDS = 2.0
# Seconds between noticing and the hard end.
GRACE = {"sigterm": 3.5, "lease": 7.0}
GRACE_ASKED = 20.0
LEASE = "control/lease.json"


class StopRequested(Exception):
    """Raised at a safe point after a stop was noticed."""


@dataclass(frozen=True, slots=True)
class Stop:
    reason: str
    by: str = ""

    def marker(self) -> dict[str, str]:
        """Content of `_STOPPED.json`."""
        return {"reason": self.reason, **({"by": self.by} if self.by else {})}


def decide(lease: dict[str, Any] | None, asked: dict[str, Any] | None, now: float) -> Stop | None:
    """Whether the control files end this pod at `now` (epoch seconds). Pure."""
    if asked is not None:
        return Stop(str(asked.get("reason", "cancel")), str(asked.get("by", "")))
    if lease is not None and float(lease["expires"]) < now:
        return Stop("lease")
    return None


class Control:
    """Watches the control files and SIGTERM. `end(stop)` must not return: it ends the process."""

    def __init__(self, folder: RunFolder, end: Callable[[Stop], None]) -> None:
        self.folder = folder
        self.stop: Stop | None = None
        self._end = end
        self._lease: dict[str, Any] | None = None
        self._noticed = threading.Event()
        self._read, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def start(self) -> None:
        """Call from the main thread, once."""
        # A handler written in Python runs only between two bytecodes of the main thread, and a
        # backward pass is one bytecode: the wake-up fd is written at once, whatever happens.
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        threading.Thread(target=self._signals, name="sigterm", daemon=True).start()
        threading.Thread(target=self._files, name="control", daemon=True).start()

    def check(self) -> None:
        """A safe point: raises StopRequested once a stop was noticed."""
        if self._noticed.is_set():
            raise StopRequested

    def _signals(self) -> None:
        while data := os.read(self._read, 64):
            if signal.SIGTERM not in data:
                continue
            if self.stop is None:
                self._notice(Stop("sigterm"))
            else:
                # Already stopping for another reason: only the time left gets shorter.
                self._force_later(self.stop, GRACE["sigterm"])

    def _files(self) -> None:
        while not self._noticed.is_set():
            # A store that cannot be read (each has its own exceptions) is no reason to stop: the
            # known lease still runs out.
            with contextlib.suppress(Exception):
                if self.folder.exists(LEASE):
                    self._lease = self.folder.read_json(LEASE)
            asked = None
            with contextlib.suppress(Exception):
                asked = self.folder.stop_request()
            if stop := decide(self._lease, asked, time.time()):
                self._notice(stop)
                return
            self._noticed.wait(POLL_SECONDS)

    def _notice(self, stop: Stop) -> None:
        if self._noticed.is_set():
            return
        self.stop = stop
        print(f"stopping: {stop.reason}", flush=True)
        self._noticed.set()
        self._force_later(stop, GRACE.get(stop.reason, GRACE_ASKED))

    def _force_later(self, stop: Stop, seconds: float) -> None:
        def force() -> None:
            time.sleep(seconds)
            self._end(stop)

        threading.Thread(target=force, name="grace", daemon=True).start()
