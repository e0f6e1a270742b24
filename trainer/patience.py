"""Storage trouble is waited out: the same call again, with growing pauses, told once per outage.

Limits (launch-level, BRIGHTRUN_STORAGE_PATIENCE overrides both): a storage that is away is given
30 minutes or three checkpoint intervals, whichever is longer: so much work is at stake at most.
A lasting fault (full, expired, denied, gone) is given 5 minutes: a person may mend it, but each
further minute is paid for work that may never be stored.
"""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from brightrun.runfolder import RunFolder
from brightrun.storagefaults import Trouble, classify
from trainer.reporter import Reporter

T = TypeVar("T")
AWAY_SECONDS = 30 * 60.0
LASTING_SECONDS = 5 * 60.0
INTERVALS = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of an outage after which the pod gives up."""

    away: float = AWAY_SECONDS
    lasting: float = LASTING_SECONDS

    @classmethod
    def of(cls, checkpoint_minutes: float, given: float | None) -> Limits:
        """The limits of a job; `given` replaces both."""
        if given is not None:
            return cls(given, given)
        return cls(max(AWAY_SECONDS, INTERVALS * checkpoint_minutes * 60))

    def over(self, fault: Trouble, seconds: float, altogether: float = 0.0) -> bool:
        """After `seconds` of one kind of fault, `altogether` with those of the other kind."""
        if altogether > self.longest:
            return True
        return seconds > (self.lasting if fault.lasting else self.away)

    @property
    def longest(self) -> float:
        """Nothing is waited out for longer, however its faults change."""
        return self.away + self.lasting


@dataclass(frozen=True, slots=True)
class Spell:
    """A trouble that goes on (clock seconds): since when, and since when of its kind."""

    began: float
    changed: float
    lasting: bool

    @classmethod
    def of(cls, fault: Trouble, now: float, before: Spell | None) -> Spell:
        """`before` with a fault more. Its clock begins anew when the kind changes: a lasting fault
        at the end of a long outage has had no time yet to be mended."""
        if before is None:
            return cls(now, now, fault.lasting)
        if before.lasting == fault.lasting:
            return before
        return cls(before.began, now, fault.lasting)

    def over(self, limits: Limits, fault: Trouble, now: float) -> bool:
        return limits.over(fault, now - self.changed, now - self.began)


def pause(tries: int, chance: float) -> float:
    """Seconds before the next try: doubling up to a minute; its upper half is chance (0-1)."""
    whole = min(LONGEST_PAUSE, FIRST_PAUSE * float(2 ** min(tries, 20)))
    return whole * (0.5 + 0.5 * chance)


class Outages:
    """What the threads of a pod know of the storage, or of another `place`: one warning when it
    fails, one when it is back, however many calls were hit."""

    def __init__(self, reporter: Reporter, limits: Limits, place: str = "the storage") -> None:
        self.place = place
        self.reporter = reporter
        self.limits = limits
        self._spell: Spell | None = None
        self._writing = False
        self._told = ""
        self._lock = threading.Lock()

    @property
    def going_on(self) -> bool:
        """Whether the last call, or the last writing one, failed."""
        return self._spell is not None

    def failed(self, fault: Trouble, what: str, writing: bool) -> Spell:
        """Note a failed call; the trouble that it belongs to."""
        with self._lock:
            spell = self._spell = Spell.of(fault, time.monotonic(), self._spell)
            self._writing = self._writing or writing
            if fault.name != self._told:
                self._told = fault.name
                error = fault.error(f"{what} is tried again")
                self.reporter.warn(fault.name, error.message, error.cause, error.fix)
            return spell

    def worked(self, writing: bool) -> None:
        """Note a call that worked. A full disk can still be read: that ends no outage."""
        with self._lock:
            if self._spell is None or (self._writing and not writing):
                return
            seconds = time.monotonic() - self._spell.began
            self._spell, self._writing, self._told = None, False, ""
        self.reporter.warn("storage_back", f"{self.place} works again after {seconds:.0f} s")


class PatientFolder(RunFolder):
    """A run folder whose calls wait out storage trouble; StorageError when patience ends.

    wait(seconds) is the pause: it returns early or raises when the caller has to stop. guard() is
    called before everything that changes the folder, and raises when this pod may not any more.
    """

    def __init__(
        self,
        storage_url: str,
        job_id: str,
        outages: Outages,
        wait: Callable[[float], None],
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(storage_url, job_id)
        self.outages = outages
        self.wait = wait
        self.guard = guard
        # Its own generator: the global one's state is part of every checkpoint.
        self._chance = random.Random()  # noqa: S311 jitter

    def write_bytes(self, relative: str, data: bytes) -> None:
        self._change(lambda: RunFolder.write_bytes(self, relative, data), f"writing {relative}")

    def upload(self, local: Path, relative: str) -> None:
        self._change(lambda: RunFolder.upload(self, local, relative), f"writing {relative}")

    def remove(self, relative: str) -> None:
        self._change(lambda: RunFolder.remove(self, relative), f"removing {relative}")

    def read_bytes(self, relative: str) -> bytes:
        return self._try(lambda: RunFolder.read_bytes(self, relative), f"reading {relative}")

    def download(self, relative: str, local: Path) -> None:
        self._try(lambda: RunFolder.download(self, relative, local), f"reading {relative}")

    def exists(self, relative: str) -> bool:
        return self._try(lambda: RunFolder.exists(self, relative), f"looking for {relative}")

    def names(self, relative: str) -> list[str]:
        return self._try(lambda: RunFolder.names(self, relative), f"listing {relative}")

    def _change(self, call: Callable[[], None], what: str) -> None:
        def guarded() -> None:
            self.guard()
            # A local write makes its folders: a run folder that was deleted would come back empty.
            if self.is_local and not Path(self.root, "spec.json").exists():
                raise FileNotFoundError(errno.ENOENT, "the run folder is gone", self.root)
            call()

        self._try(guarded, what, writing=True)

    def _try(self, call: Callable[[], T], what: str, writing: bool = False) -> T:
        began, spell = time.monotonic(), None
        tries = 0
        while True:
            try:
                found = call()
            except Exception as error:
                # To a reader a missing file is an answer, not a fault.
                absent = not writing and isinstance(error, FileNotFoundError)
                fault = None if absent else classify(error)
                if fault is None:
                    raise
                self.outages.failed(fault, what, writing)
                now = time.monotonic()
                # The first try may have taken long.
                spell = Spell.of(fault, began if spell is None else now, spell)
                if spell.over(self.outages.limits, fault, now):
                    tail = f", for {now - began:.0f} s; the last complete checkpoint is kept"
                    raise fault.error(f"{what} failed", tail) from error
                self.wait(pause(tries, self._chance.random()))
                tries += 1
                continue
            self.outages.worked(writing)
            return found
