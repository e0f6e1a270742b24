"""Tee of stdout and stderr (also those of native code) into log segments. Standard library only."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time

from trainer.outbox import Outbox

EVERY_SECONDS = 2.0
MOST_KEPT_BYTES = 4 << 20


class LogTee:
    """From `start()` on, what is written to fd 1 and 2 also goes to `{prefix}log-{seq}.txt`."""

    def __init__(self, outbox: Outbox, prefix: str) -> None:
        self.outbox = outbox
        self.prefix = prefix
        self.sequence = 0
        self._pending = bytearray()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._console = os.dup(2)
        self._read, self._write = os.pipe()

    def start(self) -> None:
        """Replace fd 1 and 2 by a pipe and start the threads that read and write."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(self._write, 1)
        os.dup2(self._write, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False, errors="replace")
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False, errors="replace")
        # After a crash of native code no thread of ours runs: the console still gets the stack.
        faulthandler.enable(self._console)
        threading.Thread(target=self._copy, name="log-copy", daemon=True).start()
        threading.Thread(target=self._write_out, name="log-write", daemon=True).start()

    def flush(self) -> None:
        """Write what came so far as one segment; after an exception it is kept for the next."""
        with self._flushing:
            with self._lock:
                data = bytes(self._pending)
            if not data:
                return
            self.sequence += 1
            try:
                self.outbox.put(f"{self.prefix}log-{self.sequence:06d}.txt", data)
            except Exception:
                self.sequence -= 1
                raise
            with self._lock:
                del self._pending[: len(data)]

    def finish(self) -> None:
        """Flush Python's buffers, wait for the pipe to run dry, write the last segment."""
        with contextlib.suppress(ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        time.sleep(0.05)
        # The marker comes after this: a log that cannot be stored must not prevent it.
        with contextlib.suppress(Exception):
            self.flush()

    def _copy(self) -> None:
        while data := os.read(self._read, 1 << 16):
            with contextlib.suppress(OSError):
                os.write(self._console, data)
            with self._lock:
                self._pending += data
                del self._pending[:-MOST_KEPT_BYTES]

    def _write_out(self) -> None:
        while True:
            time.sleep(EVERY_SECONDS)
            # RunFolder maps some failures to StorageError, a remote store may raise its own.
            with contextlib.suppress(Exception):
                self.flush()
