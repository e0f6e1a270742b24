"""The pod's entry point: log and markers first, then everything that can fail.

Up to the import of `trainer.attempt` only the standard library is used (for file:// storage), so
that a pod that dies at import still says why.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from trainer import offline, rebirth, scratch, threads
from trainer.logtee import LogTee
from trainer.outbox import Outbox
from trainer.pod import MissingVariable, Pod
from trainer.rebirth import DONE, FAILED, LAST_WORDS_SECONDS, STOPPED
from trainer.seat import Seat, take

# For a failed process to say why, before the leader says that it does not know.
PEER_SECONDS = 5.0
# Seconds between tries to write the marker.
MARKER_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# As `LAST_WORDS_SECONDS`, for a pod that a SIGTERM ends before its start.
HASTY_SECONDS = 1.0


class Ending:
    """Writes the one marker of this attempt: whoever comes first.

    Of several processes the leader writes it, except that each says why it failed itself.
    """

    def __init__(self, outbox: Outbox, pod: Pod, tee: LogTee, seat: Seat) -> None:
        self.outbox = outbox
        self.pod = pod
        self.tee = tee
        self.seat = seat
        self.reporter: Any = None
        self._lock = threading.Lock()
        self._ended = False

    def write(self, name: str, content: dict[str, Any]) -> bool:
        """Events, log, marker, in this order; False when the attempt has already ended."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            if self.reporter is not None:
                # Any storage's own exception: the marker matters more than the last events.
                try:
                    self.reporter.close()
                except Exception as error:  # noqa: BLE001 as above
                    print(f"the last events could not be written: {error}", flush=True)
            self.tee.finish()
            if self._is_mine(name):
                self._put(name, content)
            return True

    def _put(self, name: str, content: dict[str, Any]) -> None:
        """A finished pod whose marker is missing counts as lost: the storage gets some tries."""
        for seconds in MARKER_PAUSES:
            try:
                self.outbox.put_json(self.pod.folder(name), content)
                return
            except Exception as error:  # noqa: BLE001 any storage's own
                print(f"{name} is written again in {seconds} s: {error}", file=sys.__stderr__)
                time.sleep(seconds)
        self.outbox.put_json(self.pod.folder(name), content)

    def wait_for_another(self, seconds: float) -> bool:
        """Whether another process has written the marker within so many seconds."""
        end = time.monotonic() + seconds
        while not (found := self._is_written()) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    def _is_mine(self, name: str) -> bool:
        if self.seat.size == 1:
            return True
        # The first failure ends the others too: what they say would hide it.
        return (self.seat.leads or name == FAILED) and not self._is_written()

    def _is_written(self) -> bool:
        with contextlib.suppress(Exception):
            from brightrun.runfolder import RunFolder

            folder = RunFolder(self.pod.storage_url, self.pod.job_id)
            return folder.marker(self.pod.attempt) is not None
        return False


def main() -> int:
    """Exit status: 0 done or stopped as asked, 1 failed or started again, 2 wrong environment."""
    offline.apply()
    try:
        pod, seat = Pod.from_environment(), take(os.environ)
    except (MissingVariable, KeyError, ValueError) as error:
        print(f"the pod cannot start: {error}", file=sys.stderr)
        return 2
    threads.settle(os.environ, pod.threads)
    outbox = Outbox(pod.storage_url, pod.job_id)
    if seat.leads and (life := rebirth.found(outbox, pod.folder())):
        return rebirth.end(outbox, pod.folder(), life)
    tee = LogTee(outbox, pod.folder("" if seat.leads else f"rank-{seat.rank}") + "/")
    tee.start()
    ending = Ending(outbox, pod, tee, seat)
    # Until the control thread takes over, SIGTERM ends the pod with its marker.
    signal.signal(signal.SIGTERM, lambda *_: _leave(ending, {"reason": "sigterm"}, HASTY_SECONDS))
    place: Path | None = None
    try:
        if seat.leads and (left := scratch.sweep()):
            print(f"removed what killed pods had left: {', '.join(left)}", flush=True)
        place = scratch.made(pod.job_id)
        tempfile.tempdir = str(place)  # what others make for a while goes with it
        return _run(pod, ending, place)
    except Exception as error:  # noqa: BLE001 the last line of the process: it must say why
        traceback.print_exc()
        ending.write(FAILED, _explained(error))
        return 1
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
        tee.finish()


def _run(pod: Pod, ending: Ending, place: Path) -> int:
    from brightrun.runfolder import RunFolder
    from trainer.control import Control, StopRequested
    from trainer.reporter import Reporter

    folder = RunFolder(pod.storage_url, pod.job_id)
    seat = ending.seat
    reporter = Reporter(folder, pod.attempt, pod.expected, seat.leads)
    ending.reporter = reporter
    reporter.start()
    control = Control(
        folder,
        lambda stop: _leave(ending, stop.marker(), control.last_words()),
        pod.attempt,
        pod.limit_hours,
    )
    control.start()
    print(f"attempt {pod.attempt} of job {pod.job_id}, {pod.threads} threads", flush=True)
    from brightrun.specs import COPY_WISH
    from trainer import failures, quantise
    from trainer.attempt import Attempt
    from trainer.data import read_spec
    from trainer.distributed import Group, PeerFailed
    from trainer.patience import Limits, Outages, PatientFolder

    outages = Outages(reporter, Limits.of(0.0, pod.storage_patience))
    patient = PatientFolder(pod.storage_url, pod.job_id, outages, control.wait, control.must_own)
    spec = None
    try:
        control.check()
        spec = read_spec(patient)
        outages.limits = Limits.of(spec.values.checkpoint_minutes, pod.storage_patience)
        group = Group(seat, outages.limits.longest)
        attempt = Attempt(pod, patient, reporter, control, place, group)
        attempt.fail = lambda error: _fail(ending, error)
        copies = patient.exists(COPY_WISH)
        done = quantise.run(attempt, spec) if copies else attempt.run(spec)
    except StopRequested:
        ending.write(STOPPED, control.stop.marker() if control.stop else {"reason": "lease"})
        return 0
    except PeerFailed as error:
        print("another process of this pod has failed and says why", flush=True)
        if seat.leads and not ending.wait_for_another(PEER_SECONDS):
            ending.write(FAILED, failures.explain(error, None, reporter.stage_name).as_dict())
        return 1
    except Exception as error:  # noqa: BLE001 mapped to what a person can act on
        traceback.print_exc()
        found = failures.explain(error, spec.values if spec else None, reporter.stage_name)
        reporter.error(found)
        ending.write(FAILED, found.as_dict())
        return 1
    ending.write(DONE, done)
    return 0


def _leave(ending: Ending, marker: dict[str, Any], seconds: float) -> None:
    """End the process now, from whatever thread, in so many seconds at most; no return."""
    last = threading.Timer(seconds, os._exit, [0])
    last.daemon = True
    last.start()
    ending.write(STOPPED, marker)
    os._exit(0)


def _fail(ending: Ending, error: Any) -> None:
    """End the process now with a diagnosis, from a thread that watches; no return."""
    last = threading.Timer(LAST_WORDS_SECONDS, os._exit, [1])
    last.daemon = True
    last.start()
    ending.reporter.error(error)
    ending.write(FAILED, error.as_dict())
    os._exit(1)


def _explained(error: Exception) -> dict[str, Any]:
    """`_FAILED.json` when not even the ground floor could be imported."""
    missing = error.name if isinstance(error, ImportError) else None
    return {
        "code": "trainer",
        "message": f"the pod died while starting: {type(error).__name__}: {error}",
        "cause": f"{missing} cannot be imported here" if missing else "see the pod's log",
        "fix": 'rebuild the pod\'s environment: pip install -e ".[trainer]"',
        "adjustment": {},
        "fault": "package_missing" if missing else "trainer",
    }
