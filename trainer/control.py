"""Stop when asked: lease expired, control/stop.json, SIGTERM, a successor, or the pod's own limit.

A watcher thread notices within 2 seconds. The training loop ends at its next safe point and saves,
whatever the reason (also for a cancel: a person may resume it); if that takes too long the watcher
ends the process itself: the last complete checkpoint is kept. Only a pod whose lease names a newer
attempt saves nothing more: the checkpoints belong to its successor.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brightrun.faults import anchor
from brightrun.outcomes import OWN_LIMIT
from brightrun.runfolder import RunFolder
from trainer.rebirth import LAST_WORDS_SECONDS

POLL_SECONDS = 2.0
LEASE = "control/lease.json"
SUPERSEDED = "superseded"
# Seconds between noticing and the end of the process. SIGTERM: a provider kills 5 seconds later, so
# training has 3.5 to save, and the last words (events, log, marker) end with the process at 4.25.
SIGTERM_GRACE, SIGTERM_LIMIT = 3.5, 4.25
# Asked: the control plane waits a minute. A 70B adapter with its optimizer (2.5 GB) takes half of
# one to store.
ASKED_GRACE = 45.0
# Lease: the eighth part of it, so that a pod without a driver is gone soon after one lease.
LEASE_SHARE, LEAST_LEASE_GRACE = 1 / 8, 7.0
# What the log says of a stop that nobody asked for.
WORDS = {
    "lease": "the lease has expired: nobody has followed this pod for that long; after saving it "
    f"ends, and `brightrun train --resume JOB` goes on from there; see {anchor('lease_expired')}",
    "budget": f"its time or money is used up; see {anchor('time_limit')}",
    "sigterm": "the machine wants this process to end (SIGTERM)",
    SUPERSEDED: "another pod of this job has taken over",
}


class StopRequested(Exception):
    """Raised at a safe point after a stop was noticed."""


@dataclass(frozen=True, slots=True)
class Stop:
    reason: str
    by: str = ""

    def marker(self) -> dict[str, str]:
        """Content of `_STOPPED.json`."""
        return {"reason": self.reason, **({"by": self.by} if self.by else {})}


def decide(
    lease: dict[str, Any] | None,
    asked: dict[str, Any] | None,
    now: float,
    attempt: int = 0,
    left_s: float = math.inf,
) -> Stop | None:
    """Whether the control files end the pod of `attempt` at `now` (epoch seconds). Pure.

    A lease for a newer attempt comes first: whatever was asked is its successor's business.
    left_s: seconds until the hours that this pod may run are over, whoever still drives it.
    """
    if lease is not None and int(lease.get("attempt", 0)) > attempt > 0:
        return Stop(SUPERSEDED, f"attempt {lease['attempt']}")
    if asked is not None:
        return Stop(str(asked.get("reason", "cancel")), str(asked.get("by", "")))
    if left_s <= 0:
        return Stop("budget", OWN_LIMIT)
    if lease is not None and float(lease["expires"]) < now:
        return Stop("lease")
    return None


def grace(reason: str, lease_seconds: float) -> float:
    """Seconds that a pod has to save and store before its process is ended. Pure."""
    match reason:
        case "sigterm":
            return SIGTERM_GRACE
        case "superseded":
            return 0.0
        case "lease":
            return min(ASKED_GRACE, max(LEAST_LEASE_GRACE, LEASE_SHARE * lease_seconds))
        case _:
            return ASKED_GRACE


class Control:
    """Watches the control files and SIGTERM. `end(stop)` must not return: it ends the process.

    limit_hours: so long this pod may run, also when no control plane can say so any more; clock:
    seconds that only go on.
    """

    def __init__(
        self,
        folder: RunFolder,
        end: Callable[[Stop], None],
        attempt: int = 0,
        limit_hours: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.attempt = attempt
        self.stop: Stop | None = None
        self._end = end
        self._lease: dict[str, Any] | None = None
        self._clock = clock
        self._limit = clock() + limit_hours * 3600
        self._noticed = threading.Event()
        self._first = threading.Lock()
        self._ends_at = self._gone_by = math.inf
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

    def wait(self, seconds: float) -> None:
        """A pause that a stop ends: raises StopRequested."""
        self._noticed.wait(seconds)
        self.check()

    def seconds_left(self) -> float:
        """Until the process is ended; infinite while nobody has asked it to stop."""
        return max(0.0, self._ends_at - self._clock())

    def last_words(self) -> float:
        """Seconds for the marker once the process is being ended: a SIGTERM's end is one moment,
        however late each part before it came to its turn."""
        return max(0.0, min(LAST_WORDS_SECONDS, self._gone_by - self._clock()))

    def time_to_store(self) -> float:
        """Seconds for last uploads once a stop is known; of several processes another one may have
        noticed it first, then this one's watcher is waited for."""
        self._noticed.wait(2 * POLL_SECONDS)
        return min(ASKED_GRACE, self.seconds_left())

    def owned(self) -> bool:
        """Whether the checkpoints still are this pod's; a lease that cannot be read is no answer.

        Looks at once: a pod that was frozen may be awake before its watcher has looked.
        """
        if self.stop is not None and self.stop.reason == SUPERSEDED:
            return False
        self._look_at_lease()
        found = decide(self._lease, None, 0.0, self.attempt)
        if found is None or found.reason != SUPERSEDED:
            return True
        self._notice(found)
        return False

    def must_own(self) -> None:
        """StopRequested when a successor owns the run folder now."""
        if not self.owned():
            raise StopRequested

    def _signals(self) -> None:
        while data := os.read(self._read, 64):
            if signal.SIGTERM in data:
                self.terminate()

    def terminate(self) -> None:
        """What a SIGTERM does; a second one changes nothing."""
        if self._gone_by < math.inf:
            return
        self._gone_by = self._clock() + SIGTERM_LIMIT
        stop = Stop("sigterm")
        if not self._notice(stop):
            # Already stopping for another reason: only the time left gets shorter.
            self._force_later(self.stop or stop, SIGTERM_GRACE)

    def _files(self) -> None:
        while not self._noticed.is_set():
            self._look_at_lease()
            stop = asked = None
            with contextlib.suppress(Exception):
                asked = self.folder.stop_request()
            try:
                left = self._limit - self._clock()
                stop = decide(self._lease, asked, time.time(), self.attempt, left)
            except (KeyError, TypeError, ValueError) as error:
                # Without this thread no lease would ever expire.
                print(f"a request to stop cannot be understood: {error!r}", flush=True)
            if stop is not None:
                self._notice(stop)
                return
            self._noticed.wait(POLL_SECONDS)

    def _look_at_lease(self) -> None:
        # A store that cannot be read (each has its own exceptions) or a lease that cannot be
        # understood is no reason to stop, and hides no request: the known lease still runs out.
        with contextlib.suppress(Exception):
            if self.folder.exists(LEASE):
                found = self.folder.read_json(LEASE)
                decide(found, None, 0.0, self.attempt)  # raises when it cannot be understood
                self._lease = found

    def _notice(self, stop: Stop) -> bool:
        """False when a stop was noticed before."""
        with self._first:
            if self.stop is not None:
                return False
            self.stop = stop
        lease_seconds = float((self._lease or {}).get("seconds", 0.0))
        self._force_later(stop, grace(stop.reason, lease_seconds))
        print(f"stopping: {WORDS.get(stop.reason, stop.reason)}", flush=True)
        # Last: whoever sees it may ask how much time there is.
        self._noticed.set()
        return True

    def _force_later(self, stop: Stop, seconds: float) -> None:
        self._ends_at = min(self._ends_at, self._clock() + seconds)

        def force() -> None:
            time.sleep(seconds)
            self._end(stop)

        threading.Thread(target=force, name="grace", daemon=True).start()
