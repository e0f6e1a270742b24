"""A driver on another machine is gone when this process has itself heard nothing of it for long.

A claim's age alone does not tell that: after an outage of the ledger all claims are old, and the
clocks of two machines may be apart.
"""

from __future__ import annotations

from brightrun.clock import Clock, SystemClock
from brightrun.ledger import JobRow
from brightrun.ledger_jobs import CLAIM_STALE_SECONDS, is_driven, is_elsewhere
from brightrun.ledger_rows import Claim
from brightrun.pulse import BEAT_SECONDS


class Silence:
    """What a sweeper remembers from one sweep to the next."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.known: dict[str, tuple[Claim, float, float]] = {}  # claim, seconds silent, last look

    def driven(self, row: JobRow) -> bool:
        """As `is_driven`. A pause between two looks counts as one beat at most: the ledger may
        have been away."""
        if row.claim is None or not is_elsewhere(row.claim):
            return is_driven(row)
        now = self.clock.monotonic()
        claim, silent, looked = self.known.get(row.job_id, (None, 0.0, now))
        silent = silent + min(now - looked, BEAT_SECONDS) if claim == row.claim else 0.0
        self.known[row.job_id] = (row.claim, silent, now)
        return silent < CLAIM_STALE_SECONDS or is_driven(row)
