"""Checkpoints are written and stored in the background, one at a time, while training goes on.

No step begins that would put more at stake than the interval (`keep_up`). An outage is not waited
for: then a newer checkpoint replaces the one that waits behind the one under way. The local disk
holds one, the host's memory the one that waits and the one that is being taken.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HURRIED_PAUSE = 0.5


class Abandoned(Exception):
    """Raised inside an upload that must not go on: another pod owns the checkpoints now."""


class Lost(Exception):
    """Raised by a send: this checkpoint is given up, the next one is to come soon."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint for the local disk. stalled_s: seconds that training stood still for it.
    write: puts what is still missing into its folder."""

    local: Path
    step: int
    facts: dict[str, Any] = field(default_factory=dict)
    stalled_s: float = 0.0
    write: Callable[[Path], None] = lambda local: None
    at: float = field(default_factory=time.monotonic)


class Uploads:
    """The one thread that runs send(saved), and the one place in front of it."""

    def __init__(
        self, send: Callable[[Saved], None], stored: int = 0, away: Callable[[], bool] | None = None
    ) -> None:
        """stored: step of the newest checkpoint that is stored already. away: whether the storage
        refuses now; then nobody waits for it."""
        self._send = send
        self._away = away or (lambda: False)
        self._stored = stored
        self._waiting: Saved | None = None
        self._running: Saved | None = None
        self._failure: BaseException | None = None
        # The last one that was handed over could not be written.
        self.lost = False
        self._over = False
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, saved: Saved) -> None:
        """Take over a local checkpoint; returns at once. Raises like `check`."""
        self.check()
        with self._changed:
            replaced, self._waiting, self.lost = self._waiting, saved, False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        if replaced is not None:
            print(
                f"checkpoint of step {replaced.step} is not stored: that of step {saved.step} "
                "is newer, and the storage does not take them",
                flush=True,
            )
            shutil.rmtree(replaced.local, ignore_errors=True)

    def check(self) -> None:
        """A safe point of the training: raises what ended the uploads, once."""
        with self._changed:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def keep_up(self, needed: int, seconds: float) -> bool:
        """Wait until the checkpoint of step `needed`, or a newer one, is stored; False when the
        time did not suffice. Nobody waits for one that the storage has refused and that is tried
        again, nor for one that was never handed over.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: self._over or self._away() or self._stored >= needed or self._idle,
                seconds,
            )

    @property
    def _idle(self) -> bool:
        return self._running is None and self._waiting is None

    def drain(self, seconds: float, hurry: bool = True) -> bool:
        """Wait until nothing is under way or waiting; False when the time did not suffice.

        hurry: the pauses between tries become short, because the pod has to go.
        """
        if hurry:
            self._hurry.set()
        with self._changed:
            return self._changed.wait_for(lambda: self._over or self._idle, seconds)

    def abandon(self) -> None:
        """Nothing more is stored: what is under way ends before its next object."""
        with self._changed:
            self._over = True
            self._waiting = None
            self._changed.notify_all()
        self._hurry.set()

    def may_go_on(self) -> None:
        """Called before each object: raises Abandoned."""
        if self._over:
            raise Abandoned

    def pause(self, seconds: float) -> None:
        """A pause between two tries: short once the pod wants to end."""
        with self._changed:
            self._changed.notify_all()
        if not self._hurry.wait(seconds):
            return
        time.sleep(min(seconds, HURRIED_PAUSE))
        self.may_go_on()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._over)
                if self._over:
                    return
                self._running, self._waiting = self._waiting, None
                self._changed.notify_all()
            saved = self._running
            try:
                if saved is not None:
                    self._send(saved)
                    with self._changed:
                        self._stored = saved.step
            except Abandoned:
                return
            except Lost:
                with self._changed:
                    self.lost = self._waiting is None
            except BaseException as error:  # noqa: BLE001 raised again in the training thread
                with self._changed:
                    self._failure = error
            finally:
                if saved is not None:
                    shutil.rmtree(saved.local, ignore_errors=True)
                with self._changed:
                    self._running = None
                    self._changed.notify_all()
