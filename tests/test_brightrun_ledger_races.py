"""What two processes do to the ledger at once: SQLite shows a reader one moment, Postgres more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from brightrun import ledger_adapters
from brightrun.adapters import Stage
from brightrun.history import Wanted
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load

NOW = datetime.now(UTC)


def rented(ledger: Ledger, name: str) -> None:
    ledger.add_attempt(
        name, 1, provider="local", market="spot", pod_name=name, usd_per_hour=Decimal(3600),
        launched_at=NOW,
    )  # fmt: skip


@contextmanager
def after_the_first_look_at(table: str, what: Any) -> Iterator[None]:
    """`what` happens once, right behind a query of that table, in another connection."""
    seen: list[str] = []

    def done(*facts: Any) -> None:
        statement = facts[2]
        if not seen and statement.startswith("SELECT") and f"{table}." in statement:
            seen.append(statement)
            what()

    event.listen(Engine, "after_cursor_execute", done)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", done)
    assert seen


def test_a_pod_that_ends_or_begins_while_the_list_is_read_is_not_counted_twice_and_breaks_nothing(
    home: Path,
) -> None:
    ledger, later = Ledger.open(load()), NOW + timedelta(seconds=10)
    for name in ("ends", "begins"):
        ledger.create_job(name, JobRequest(training_file="f"))
    rented(ledger, "ends")

    def meanwhile() -> None:
        ledger.end_attempt("ends", 1, later, "done", cost_usd=Decimal(10))
        rented(ledger, "begins")

    with after_the_first_look_at("attempts", meanwhile):
        rows = {row.job_id: row for row in ledger.history(Wanted(), later)}
    assert (rows["ends"].cost_usd, rows["ends"].pods) == (10, 1)
    assert "begins" in rows


def test_two_moves_at_once_leave_one_adapter_in_production(home: Path, monkeypatch: Any) -> None:
    ledger = Ledger.open(load())
    for name in ("a", "b"):
        ledger.create_job(name, JobRequest(training_file="spring"))
        ledger.register_adapter(name, "spring", name, "source")
    look = ledger_adapters._production

    def move(name: str) -> None:
        Ledger.open(load()).move_adapter(name, Stage.production, by="Ann", reason="better")

    other = threading.Thread(target=move, args=("b",))

    def slowly(*known: Any) -> Any:
        found = look(*known)
        if threading.current_thread() is not other and not other.ident:
            other.start()
            other.join(0.5)  # it waits, or is over by now
        return found

    monkeypatch.setattr(ledger_adapters, "_production", slowly)
    move("a")
    other.join(30)
    present = ledger.in_production("spring")
    assert present is not None
    assert present.job_id == "b"
