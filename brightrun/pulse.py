"""While a job is driven its claim is renewed, whatever its driver is busy with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from brightrun.ledger_jobs import CLAIM_STALE_SECONDS
from brightrun.outages import told

log = logging.getLogger(__name__)
BEAT_SECONDS = CLAIM_STALE_SECONDS / 4


@contextmanager
def beating(renew: Callable[[], object], seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """`renew` is called every so many seconds inside; a ledger that is away is asked again."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            try:
                renew()
            except Exception as error:  # noqa: BLE001 the next beat asks again; a claim stays 4 beats
                log.warning("the claim on the job is not renewed: %s", told(error).message)

    thread = threading.Thread(target=beat, daemon=True, name="pulse")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)
