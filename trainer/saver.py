"""What the training thread does about checkpoints: hand over, notice failures, wait for them."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from brightrun.storagefaults import local_fault
from trainer.checkpoints import Publisher
from trainer.control import Control, StopRequested
from trainer.patience import Outages, PatientFolder
from trainer.reporter import Reporter
from trainer.uploads import Abandoned, Lost, Saved, Uploads

# After a failure of the training: so long for what is still under way.
FAILURE_DRAIN_SECONDS = 60.0
# So long one look at a storage that has fallen behind lasts; then people hear of it.
MOMENT_SECONDS, SLOW_SECONDS = 0.2, 10.0
# Kept of the time before the process is ended, for events, log and marker.
MARGIN_SECONDS = 0.5


class Saver:
    """Takes local checkpoints and has them stored by a thread of its own.

    folder: the patient folder of the main thread; the thread gets one that waits in its own way.
    stored: step of the checkpoint that training goes on from, 0 for none.
    """

    def __init__(
        self, folder: PatientFolder, reporter: Reporter, control: Control, facts: dict[str, Any],
        stored: int = 0,
    ) -> None:  # fmt: skip
        self.control = control
        self.reporter = reporter
        self.patience = folder.outages.limits.away
        self._behind_since: float | None = None
        self._told = False
        # A full disk here says nothing of the storage, nor the other way round.
        self.disk = Outages(reporter, folder.outages.limits, "the pod's disk")
        patient = PatientFolder(
            folder.storage_url,
            folder.job_id,
            folder.outages,
            lambda seconds: self.uploads.pause(seconds),
            self._guard,
        )
        self.publisher = Publisher(patient, reporter, facts)
        self.uploads = Uploads(self._store, stored, lambda: folder.outages.going_on)

    def save(
        self, local: Path, step: int, facts: dict[str, Any], stalled_s: float,
        write: Callable[[Path], None],
    ) -> None:  # fmt: skip
        """Hand over a checkpoint that `write` puts into the folder `local`; returns at once."""
        print(f"checkpoint of step {step} taken in {stalled_s:.3f} s", flush=True)
        self.uploads.submit(Saved(local, step, facts, stalled_s, write))

    @property
    def lost(self) -> bool:
        """Whether the newest checkpoint could not be written: then the next step is due."""
        return self.uploads.lost

    def _store(self, saved: Saved) -> None:
        """In the thread: write, then upload."""
        try:
            saved.local.mkdir(parents=True, exist_ok=True)
            saved.write(saved.local)
        except Exception as error:
            self.not_written(error, saved.local, saved.step)
            raise Lost from error
        self.disk.worked(writing=True)
        self.publisher.publish(saved)

    def not_written(self, error: Exception, local: Path, step: int) -> None:
        """A checkpoint could not be written here: training goes on, until patience ends.

        Raises what is no trouble of the disk as it is.
        """
        free = shutil.disk_usage(local if local.exists() else local.parent).free
        fault = local_fault(error, free)
        if fault is None:
            raise error
        shutil.rmtree(local, ignore_errors=True)
        what = f"writing the checkpoint of step {step} on the pod"
        now, spell = time.monotonic(), self.disk.failed(fault, what, writing=True)
        if spell.over(self.disk.limits, fault, now):
            tail = f", for {now - spell.began:.0f} s; the last complete checkpoint is kept"
            raise fault.error(f"{what} failed", tail) from error

    def behind(self, needed: int) -> bool:
        """Before a step: whether training must wait until the checkpoint of step `needed` is
        stored. Returns after a moment.

        Neither an outage is waited for, nor a storage that is slower than one would last.
        """
        if self.control.stop is not None or self.uploads.keep_up(needed, MOMENT_SECONDS):
            self._behind_since = None
            return False
        now = time.monotonic()
        if self._behind_since is None:
            self._behind_since = now
        waited = now - self._behind_since
        if waited > SLOW_SECONDS and not self._told:
            self._told = True
            self.reporter.warn(
                "storage_slow",
                "training waits for the storage: it takes longer over a checkpoint than training "
                "over the steps to the next one",
                "a slow connection, or checkpoints that come too often for it",
                "a storage nearer to the pod, or higher --set checkpoint_steps and "
                "checkpoint_minutes",
            )
        return waited < self.patience

    def check(self) -> None:
        """A safe point: StopRequested, or the StorageError that ended the uploads."""
        self.control.check()
        self.uploads.check()

    @contextlib.contextmanager
    def draining(self) -> Iterator[None]:
        """Around the training: at its end all is stored, or as much as there is time for."""
        try:
            yield
            while not self.uploads.drain(0.5, hurry=False):
                self.control.check()
            self.uploads.check()
        except StopRequested:
            self.uploads.drain(max(0.0, self.control.time_to_store() - MARGIN_SECONDS))
            raise
        except Exception:
            self.uploads.drain(FAILURE_DRAIN_SECONDS)
            raise

    def _guard(self) -> None:
        self.uploads.may_go_on()
        if not self.control.owned():
            self.uploads.abandon()
            raise Abandoned
