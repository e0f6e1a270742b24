"""What was already paid for the same result, and what is cheaper than paying again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.repeats import paid_before
from brightrun.settings import load

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def job(ledger: Ledger, job_id: str, status: Status, *, rented: bool, same: str = "spec") -> None:
    ledger.create_job(job_id, JobRequest(training_file="f.json", requested_by="Ada"), at=NOW)
    ledger.update_job(job_id, spec_hash=same, status=status, report_html="/r/report.html")
    if rented:
        ledger.add_attempt(
            job_id, 1, provider="local", market="on_demand", pod_name=f"br-{job_id}",
            usd_per_hour=Decimal("0.5"), launched_at=NOW - timedelta(hours=2),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (Status.completed, "/r/report.html"),
        (Status.failed, "`brightrun train --resume j1` pays only what is left"),
        (Status.cancelled, "`brightrun train --resume j1` pays only what is left"),
        (Status.running, "`brightrun watch j1`"),
    ],
)
def test_who_when_cost_and_the_cheaper_way_are_told(home: Path, status: Status, told: str) -> None:
    ledger = Ledger.open(load())
    job(ledger, "j1", status, rented=True)
    (said,) = paid_before(ledger, "j2", "spec", NOW)
    assert f"j1, Ada, 2026-11-23 12:00 UTC, {status}, $1.0000 spent" in said
    assert told in said


def test_a_job_that_rented_nothing_cost_nothing_to_repeat(home: Path) -> None:
    ledger = Ledger.open(load())
    for name, status in (("j1", Status.rejected), ("j2", Status.failed), ("j3", Status.created)):
        job(ledger, name, status, rented=False)
    job(ledger, "j4", Status.completed, rented=True, same="another spec")
    job(ledger, "j5", Status.completed, rented=True)
    assert paid_before(ledger, "j5", "spec", NOW) == ()
    assert len(paid_before(ledger, "j6", "spec", NOW)) == 1
