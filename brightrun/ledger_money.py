"""What attempts cost, by job and month, to the micro-dollar. Use through `Ledger`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from brightrun.budget import month_bounds
from brightrun.ledger_attempts import row_of
from brightrun.ledger_rows import AttemptRow
from brightrun.ledger_schema import attempts as table
from brightrun.ledger_schema import jobs as jobs_table
from brightrun.ledger_store import Database
from brightrun.money import microseconds, part_of, rental, to_usd


def bill_within(row: Row[Any], first: datetime, after: datetime, now: datetime) -> int:
    """Micro-dollars of an attempt that fall into [first, after); its months sum to its bill."""
    if row.ended_at is None:
        price, base = row.usd_per_hour_micro, row.launched_at
        until = rental(price, microseconds(base, min(now, after)))
        return until - rental(price, microseconds(base, first))
    whole = microseconds(row.launched_at, row.ended_at)
    if whole == 0:
        return int(row.cost_micro) if first <= row.launched_at < after else 0
    until = part_of(row.cost_micro, microseconds(row.launched_at, after), whole)
    return until - part_of(row.cost_micro, microseconds(row.launched_at, first), whole)


def cost_so_far(db: Database, job_id: str, now: datetime) -> Decimal:
    """Dollars of all attempts of a job up to now, to the micro-dollar."""
    with db.read() as c:
        rows = c.execute(select(table).where(table.c.job_id == job_id)).all()
    return to_usd(sum(cost_of(row, now) for row in rows))


def cost_of_jobs(db: Database, now: datetime) -> dict[str, Decimal]:
    """Dollars of every job that ever rented a pod, up to now."""
    found: dict[str, int] = {}
    with db.read() as c:
        for row in c.execute(select(table)):
            found[row.job_id] = found.get(row.job_id, 0) + cost_of(row, now)
    return {job_id: to_usd(micro) for job_id, micro in found.items()}


def cost_of(row: Row[Any], now: datetime) -> int:
    """Micro-dollars of an attempt by now."""
    if row.ended_at is not None:
        return int(row.cost_micro)
    return rental(row.usd_per_hour_micro, microseconds(row.launched_at, now))


def spent_this_month(db: Database, now: datetime, tz: tzinfo | None = None) -> Decimal:
    """Dollars of the calendar month of `now`, pods that run included up to now."""
    with db.read() as c:
        return to_usd(sum(spent_by_client(c, now, tz or db.settings.zone).values()))


def spent_by_client(c: Connection, now: datetime, tz: tzinfo) -> dict[str, int]:
    """Client -> micro-dollars of the month of `now`."""
    first, after = month_bounds(now, tz)
    spent: dict[str, int] = {}
    for row in alive_within(c, first, after):
        spent[row.client] = spent.get(row.client, 0) + bill_within(row, first, after, now)
    return spent


def alive_within(c: Connection, first: datetime, after: datetime) -> Sequence[Row[Any]]:
    """Attempts that billed at some moment of [first, after), with the client of their job."""
    alive = or_(table.c.ended_at.is_(None), table.c.ended_at >= first)
    columns = (table, jobs_table.c.client, jobs_table.c.status)
    mine = select(*columns).join(jobs_table).where(alive)
    return c.execute(mine.where(table.c.launched_at < after).order_by(table.c.launched_at)).all()


def cost_within(
    db: Database, provider: str, first: datetime, after: datetime, now: datetime
) -> tuple[tuple[AttemptRow, Decimal], ...]:
    """Every attempt at a provider that billed in [first, after), with its dollars of that time."""
    with db.read() as c:
        rows = [row for row in alive_within(c, first, after) if row.provider == provider]
    return tuple((row_of(row), to_usd(bill_within(row, first, after, now))) for row in rows)


def job_costs_within(
    db: Database, first: datetime, after: datetime, now: datetime
) -> tuple[tuple[str, str, str, Decimal], ...]:
    """(job, client, status, dollars of that time) of every job that billed in [first, after)."""
    found: dict[tuple[str, str, str], int] = {}
    with db.read() as c:
        for row in alive_within(c, first, after):
            key = (row.job_id, row.client, row.status)
            found[key] = found.get(key, 0) + bill_within(row, first, after, now)
    return tuple((*key, to_usd(micro)) for key, micro in found.items())
