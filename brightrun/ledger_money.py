"""What attempts cost, by job, month and client, and the month's limit. Use through `Ledger`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from brightrun.budget import BudgetState, ClientSpending, month_bounds, month_name
from brightrun.ledger_attempts import row_of
from brightrun.ledger_rows import COMMITTED, AttemptRow, LimitRow
from brightrun.ledger_schema import attempts as table
from brightrun.ledger_schema import budgets
from brightrun.ledger_schema import jobs as jobs_table
from brightrun.ledger_store import Database, insert
from brightrun.money import microseconds, part_of, rental, to_micro, to_usd


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
    return to_usd(sum(_cost(row, now) for row in rows))


def cost_of_jobs(db: Database, now: datetime) -> dict[str, Decimal]:
    """Dollars of every job that ever rented a pod, up to now."""
    found: dict[str, int] = {}
    with db.read() as c:
        for row in c.execute(select(table)):
            found[row.job_id] = found.get(row.job_id, 0) + _cost(row, now)
    return {job_id: to_usd(micro) for job_id, micro in found.items()}


def _cost(row: Row[Any], now: datetime) -> int:
    if row.ended_at is not None:
        return int(row.cost_micro)
    return rental(row.usd_per_hour_micro, microseconds(row.launched_at, now))


def spent_this_month(db: Database, now: datetime, tz: tzinfo = UTC) -> Decimal:
    """Dollars of the calendar month of `now` in `tz` (UTC), pods that run included up to now."""
    first, after = month_bounds(now, tz)
    with db.read() as c:
        rows = _alive_within(c, first, after)
    return to_usd(sum(bill_within(row, first, after, now) for row in rows))


def _alive_within(c: Connection, first: datetime, after: datetime) -> Sequence[Row[Any]]:
    """Attempts that billed at some moment of [first, after), with the client of their job."""
    alive = or_(table.c.ended_at.is_(None), table.c.ended_at >= first)
    mine = select(table, jobs_table.c.client).join(jobs_table).where(alive)
    return c.execute(mine.where(table.c.launched_at < after).order_by(table.c.launched_at)).all()


def cost_within(
    db: Database, provider: str, first: datetime, after: datetime, now: datetime
) -> tuple[tuple[AttemptRow, Decimal], ...]:
    """Every attempt at a provider that billed in [first, after), with its dollars of that time."""
    with db.read() as c:
        rows = [row for row in _alive_within(c, first, after) if row.provider == provider]
    return tuple((row_of(row), to_usd(bill_within(row, first, after, now))) for row in rows)


def committed(db: Database, now: datetime, excluding: str = "") -> Decimal:
    """Dollars still to be spent by jobs that wait or run: high estimate less cost so far."""
    with db.read() as c:
        return to_usd(sum(micro for _, micro in _held(c, now, excluding)))


def _held(c: Connection, now: datetime, excluding: str = "") -> list[tuple[str, int]]:
    """(client, micro-dollars still to be spent) of every job that waits or runs."""
    held = jobs_table.c.status.in_([status.value for status in COMMITTED])
    query = select(
        jobs_table.c.job_id, jobs_table.c.client, jobs_table.c.estimate_high_micro
    ).where(held, jobs_table.c.estimate_high_micro.is_not(None), jobs_table.c.job_id != excluding)
    waiting = c.execute(query).all()
    mine = table.c.job_id.in_([row.job_id for row in waiting])
    spent: dict[str, int] = {}
    for row in c.execute(select(table).where(mine)):
        spent[row.job_id] = spent.get(row.job_id, 0) + _cost(row, now)
    return [(client, max(0, high - spent.get(job_id, 0))) for job_id, client, high in waiting]


def by_client(db: Database, now: datetime, tz: tzinfo = UTC) -> tuple[ClientSpending, ...]:
    """The month's spending of each client, the dearest first; it sums to the month's."""
    first, after = month_bounds(now, tz)
    spent: dict[str, int] = {}
    held: dict[str, int] = {}
    with db.read() as c:
        for row in _alive_within(c, first, after):
            spent[row.client] = spent.get(row.client, 0) + bill_within(row, first, after, now)
        for client, micro in _held(c, now):
            held[client] = held.get(client, 0) + micro
    found = (
        ClientSpending(name, to_usd(spent.get(name, 0)), to_usd(held.get(name, 0)))
        for name in {**spent, **held}
    )
    return tuple(sorted(found, key=lambda row: (-row.spent, -row.committed, row.client)))


def month_limit(db: Database, month: str, client: str = "") -> Decimal:
    """The month's budget in dollars: its row in `budgets`, else the settings' default."""
    found = month_limit_row(db, month, client)
    return db.settings.month_budget_usd if found is None else found.usd


def month_limit_row(db: Database, month: str, client: str = "") -> LimitRow | None:
    """The month's budget as somebody set it; None: the settings' default counts."""
    mine = (budgets.c.month == month) & (budgets.c.client == client)
    with db.read() as c:
        found = c.execute(select(budgets).where(mine)).one_or_none()
    if found is None:
        return None
    usd = to_usd(found.limit_micro)
    return LimitRow(month=month, usd=usd, by=found.set_by, note=found.note, at=found.set_at)


def set_month_limit(
    db: Database,
    month: str,
    usd: Decimal,
    *,
    set_by: str,
    note: str = "",
    client: str = "",
    at: datetime | None = None,
) -> None:
    """Write down a month's budget ("2026-11"); a later one replaces it."""
    values = {
        "limit_micro": to_micro(usd),
        "set_by": set_by,
        "note": note,
        "set_at": at or datetime.now(UTC),
    }
    with db.write() as c:
        row = insert(c, budgets).values(month=month, client=client, **values)
        c.execute(row.on_conflict_do_update(index_elements=["month", "client"], set_=values))


def budget_state(
    db: Database, now: datetime, *, excluding: str = "", tz: tzinfo = UTC
) -> BudgetState:
    """The month as the gate sees it; `excluding`: the job that stands at the gate."""
    month = month_name(now, tz)
    return BudgetState(
        month=month,
        limit=month_limit(db, month),
        spent=spent_this_month(db, now, tz),
        committed=committed(db, now, excluding),
    )
