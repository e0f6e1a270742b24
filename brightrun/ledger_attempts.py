"""Attempts (rented pods). Use these through `Ledger`; what they cost is in `ledger_money`.

A pod bills from launched_at, which is committed before the provider is called, to ended_at (or
now). Its bill is price x time in whole micro-dollars; an amount given at the end replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.exc import IntegrityError

from brightrun.errors import ConfigurationError, StorageError
from brightrun.ledger_rows import AttemptRow
from brightrun.ledger_schema import attempts as table
from brightrun.ledger_store import Database, own_words
from brightrun.money import microseconds, rental, to_micro, to_usd
from brightrun.outcomes import FAILED, STOP_FAILED, UNDISTURBED


def row_of(found: Row[Any]) -> AttemptRow:
    """Of a row of the table, money in dollars; columns that a join has added are left out."""
    fields = {column.name: found._mapping[column.name] for column in table.columns}
    price, cost = fields.pop("usd_per_hour_micro"), fields.pop("cost_micro")
    return AttemptRow(
        **fields, usd_per_hour=to_usd(price), cost_usd=None if cost is None else to_usd(cost)
    )


def is_interruption(outcome: ColumnElement[str]) -> ColumnElement[bool]:
    """`AttemptRow.interrupted` as a condition on the column."""
    return outcome.not_in(UNDISTURBED) & ~outcome.startswith(FAILED)


def add_attempt(
    db: Database,
    job_id: str,
    number: int,
    *,
    provider: str,
    market: str,
    pod_name: str,
    usd_per_hour: Decimal,
    launched_at: datetime,
    data_center: str = "",
    gpu: str = "",
) -> AttemptRow:
    """Committed before the provider is called. StorageError: number or pod name is taken."""
    values = {
        "job_id": job_id,
        "number": number,
        "provider": provider,
        "market": market,
        "pod_name": pod_name,
        "usd_per_hour_micro": to_micro(usd_per_hour),
        "launched_at": launched_at,
        "data_center": data_center,
        "gpu": gpu,
    }
    try:
        with db.write() as c:
            c.execute(table.insert().values(values))
            return _one(c, job_id, number)
    except IntegrityError as error:
        raise StorageError(
            f"attempt {number} of job {job_id} (pod {pod_name}) cannot be written: "
            f"{own_words(error)}",
            cause="another driver has written it, or there is no such job",
            fix="nothing was rented; see `brightrun show` and resume the job",
        ) from None


def _one(c: Any, job_id: str, number: int) -> AttemptRow:
    mine = (table.c.job_id == job_id) & (table.c.number == number)
    found = c.execute(select(table).where(mine)).one_or_none()
    if found is None:
        raise ConfigurationError(f"job {job_id} has no attempt {number}")
    return row_of(found)


def attempt_started(db: Database, job_id: str, number: int, started_at: datetime) -> AttemptRow:
    """The pod's first sign of life; the first one said is kept."""
    mine = (table.c.job_id == job_id) & (table.c.number == number)
    with db.write() as c:
        before = _one(c, job_id, number)
        first = before.started_at or started_at
        c.execute(update(table).where(mine).values(started_at=first))
        return _one(c, job_id, number)


def move_attempt(
    db: Database,
    job_id: str,
    number: int,
    *,
    market: str,
    usd_per_hour: Decimal,
    launched_at: datetime,
    data_center: str,
    gpu: str,
) -> AttemptRow:
    """The same attempt somewhere else, committed before the provider is asked there.

    Only after a definite no: nothing was rented at the first place, so nothing bills from then.
    """
    values = {
        "market": market,
        "usd_per_hour_micro": to_micro(usd_per_hour),
        "launched_at": launched_at,
        "data_center": data_center,
        "gpu": gpu,
    }
    return _change(db, job_id, number, values)


def pod_rented(
    db: Database, job_id: str, number: int, pod_id: str, usd_per_hour: Decimal | None = None
) -> AttemptRow:
    """The provider says that the pod exists, and at what price; None: at the price as written."""
    values: dict[str, Any] = {"pod_id": pod_id}
    if usd_per_hour is not None:
        values["usd_per_hour_micro"] = to_micro(usd_per_hour)
    return _change(db, job_id, number, values)


def stop_failed(db: Database, job_id: str, number: int) -> AttemptRow:
    """The pod could not be ended: its books stay open."""
    return _change(db, job_id, number, {"outcome": STOP_FAILED})


def _change(db: Database, job_id: str, number: int, values: dict[str, Any]) -> AttemptRow:
    mine = (table.c.job_id == job_id) & (table.c.number == number)
    with db.write() as c:
        c.execute(update(table).where(mine, table.c.ended_at.is_(None)).values(values))
        return _one(c, job_id, number)


def ended_since(db: Database, since: datetime, outcome: str) -> tuple[AttemptRow, ...]:
    """Attempts of all jobs that ended so since then, oldest first: places to be avoided."""
    query = select(table).where(table.c.ended_at >= since, table.c.outcome == outcome)
    with db.read() as c:
        return tuple(map(row_of, c.execute(query.order_by(table.c.ended_at))))


def end_attempt(
    db: Database,
    job_id: str,
    number: int,
    ended_at: datetime,
    outcome: str,
    *,
    last_step: int | None = None,
    resumed_from: int | None = None,
    cost_usd: Decimal | None = None,
) -> AttemptRow:
    """Close an attempt's books; one that is closed stays as it is (so this may run twice).

    cost_usd None: price x time from launch to end.
    """
    mine = (table.c.job_id == job_id) & (table.c.number == number)
    with db.write() as c:
        found = c.execute(select(table).where(mine).with_for_update()).one_or_none()
        if found is None:
            raise ConfigurationError(f"job {job_id} has no attempt {number}")
        if found.ended_at is None:
            end = max(ended_at, found.launched_at)
            time_us = microseconds(found.launched_at, end)
            price = found.usd_per_hour_micro
            cost = rental(price, time_us) if cost_usd is None else to_micro(cost_usd)
            values = {
                "ended_at": end,
                "outcome": outcome,
                "last_step": last_step,
                "resumed_from": resumed_from,
                "cost_micro": cost,
            }
            c.execute(update(table).where(mine).values(values))
        return _one(c, job_id, number)


def book_bill(db: Database, job_id: str, number: int, usd: Decimal) -> AttemptRow:
    """What the provider has billed for an attempt, once its books are closed."""
    mine = (table.c.job_id == job_id) & (table.c.number == number)
    with db.write() as c:
        closed = update(table).where(mine, table.c.ended_at.is_not(None))
        c.execute(closed.values(cost_micro=to_micro(usd)))
        return _one(c, job_id, number)


def attempts(db: Database, job_id: str) -> tuple[AttemptRow, ...]:
    """All attempts of a job in order."""
    query = select(table).where(table.c.job_id == job_id).order_by(table.c.number)
    with db.read() as c:
        return tuple(map(row_of, c.execute(query)))


def open_attempts(db: Database, also: Iterable[str] = ()) -> tuple[AttemptRow, ...]:
    """Attempts of all jobs that still bill, and those of the pods `also`, oldest first."""
    wanted = table.c.ended_at.is_(None) | table.c.pod_name.in_(list(also))
    query = select(table).where(wanted).order_by(table.c.launched_at)
    with db.read() as c:
        return tuple(map(row_of, c.execute(query)))


def next_attempt_number(db: Database, job_id: str) -> int:
    """1 for a job without attempts."""
    with db.read() as c:
        last = c.execute(select(func.max(table.c.number)).where(table.c.job_id == job_id)).scalar()
    return int(last or 0) + 1
