"""The report says when an adapter is not bit for bit that of an unbroken run."""

from __future__ import annotations

from datetime import UTC, datetime

from brightrun.ledger_rows import EventRow
from reports.collect import exactness


def warning(code: str, message: str) -> EventRow:
    payload = {"code": code, "message": message}
    now = datetime.now(UTC)
    return EventRow(id=1, attempt=2, seq=1, ts=now, type="warning", payload=payload)


def test_a_job_without_such_warnings_is_exact() -> None:
    assert "bit for bit" in exactness([])
    assert "bit for bit" in exactness([warning("storage_back", "the storage works again")])


def test_every_reason_is_told_once() -> None:
    torch = warning("inexact_resume", "no longer bit-exact from step 4: torch 2 -> 3")
    memory = warning("out_of_memory", "step 7 was done again with micro-batch 2")
    said = exactness([torch, torch, memory])
    assert said == f"{torch.payload['message']}; {memory.payload['message']}"
