"""A clock of a job whose ledger is away until it has moved far enough."""

from __future__ import annotations

from datetime import UTC, datetime

from fakes.clock import ManualClock

from brightrun.context import JobContext
from brightrun.ledger_store import engine_of
from brightrun.settings import Settings


class WithoutLedger(ManualClock):
    """Nobody listens where the ledger's Postgres was, until `back` seconds have passed."""

    def __init__(self, job: JobContext, back: float) -> None:
        super().__init__(datetime.now(UTC))
        self.ledger, self.back, self.there = job.ledger, back, job.ledger.engine
        nobody = {"home": job.settings.home, "DATABASE_URL": "postgresql://u@127.0.0.1:9/l"}
        job.ledger.engine = engine_of(Settings.model_validate(nobody))
        vars(job)["clock"] = self

    def sleep(self, seconds: float) -> None:
        super().sleep(max(seconds, 5.0))  # the pauses of these tests are too short for an hour
        if self.monotonic() >= self.back:
            self.ledger.engine = self.there
