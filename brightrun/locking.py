"""One process at a time does a thing on this machine, by a lock file that dies with its holder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from brightrun.errors import BrightRunError


@contextmanager
def alone(place: Path, refusal: Callable[[], BrightRunError]) -> Iterator[None]:
    """Hold the lock file `place`, made where it is not there; raises what refusal() returns when
    another process holds it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise refusal() from None
    try:
        yield
    finally:
        lock.release()
