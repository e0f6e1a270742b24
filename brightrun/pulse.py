"""While a job is driven its claim is renewed, whatever its driver is busy with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from brightrun.ledger_jobs import CLAIM_STALE_SECONDS

BEAT_SECONDS = CLAIM_STALE_SECONDS / 4


@contextmanager
def beating(renew: Callable[[], object], seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """`renew` is called every so many seconds inside; a ledger that is away is asked again."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            with suppress(Exception):
                renew()

    thread = threading.Thread(target=beat, daemon=True, name="pulse")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)
