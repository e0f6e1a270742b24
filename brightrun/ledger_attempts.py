"""Attempts (rented pods) and what they cost. Use these through `Ledger`.

A pod bills from launched_at, which is committed before the provider is called, to ended_at (or
now). Its bill is price x time in whole micro-dollars; an amount given at the end replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from brightrun.budget import BudgetState, month_bounds, month_name
from brightrun.errors import ConfigurationError, StorageError
from brightrun.ledger_rows import COMMITTED, STOP_FAILED, AttemptRow
from brightrun.ledger_schema import attempts as table
from brightrun.ledger_schema import budgets
from brightrun.ledger_schema import jobs as jobs_table
from brightrun.ledger_store import Database, insert, write_conflict
from brightrun.money import microseconds, part_of, rental, to_micro, to_usd


def row_of(found: Row[Any]) -> AttemptRow:
    """Of a row of the table, money in dollars."""
    fields = dict(found._mapping)
    price, cost = fields.pop("usd_per_hour_micro"), fields.pop("cost_micro")
    return AttemptRow(
        **fields, usd_per_hour=to_usd(price), cost_usd=None if cost is None else to_usd(cost)
    )


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
            f"{write_conflict(error)}",
            cause="another driver has written it, or there is no such job",
            fix="nothing was rented; see `brightrun show` and resume the job",
        ) from None


def _one(c: Any, job_id: str, number: int) -> AttemptRow:
    mine = (table.c.job_id == job_id) & (table.c.number == number)
    found = c.execute(select(table).where(mine)).one_or_none()
    if found is None:
        raise ConfigurationError(f"job {job_id} has no attempt {number}")
    return row_of(found)


def attempt_started(
    db: Database, job_id: str, number: int, started_at: datetime, pod_id: str = ""
) -> AttemptRow:
    """The pod's first sign of life, and the provider's id of it; the first one said is kept."""
    mine = (table.c.job_id == job_id) & (table.c.number == number)
    with db.write() as c:
        before = _one(c, job_id, number)
        first, pod = before.started_at or started_at, before.pod_id or pod_id
        c.execute(update(table).where(mine).values(started_at=first, pod_id=pod))
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


def _bill(row: Row[Any], first: datetime, after: datetime, now: datetime) -> int:
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


def _cost(row: Row[Any], now: datetime) -> int:
    if row.ended_at is not None:
        return int(row.cost_micro)
    return rental(row.usd_per_hour_micro, microseconds(row.launched_at, now))


def spent_this_month(db: Database, now: datetime, tz: tzinfo = UTC) -> Decimal:
    """Dollars of the calendar month of `now` in `tz` (UTC), pods that run included up to now."""
    first, after = month_bounds(now, tz)
    alive = or_(table.c.ended_at.is_(None), table.c.ended_at >= first)
    query = select(table).where(alive, table.c.launched_at < after)
    with db.read() as c:
        rows = c.execute(query).all()
    return to_usd(sum(_bill(row, first, after, now) for row in rows))


def committed(db: Database, now: datetime, excluding: str = "") -> Decimal:
    """Dollars still to be spent by jobs that wait or run: high estimate less cost so far."""
    held = jobs_table.c.status.in_([status.value for status in COMMITTED])
    query = select(jobs_table.c.job_id, jobs_table.c.estimate_high_micro).where(
        held, jobs_table.c.estimate_high_micro.is_not(None), jobs_table.c.job_id != excluding
    )
    with db.read() as c:
        waiting = c.execute(query).all()
        mine = table.c.job_id.in_([job_id for job_id, _ in waiting])
        rows = c.execute(select(table).where(mine)).all()
    spent: dict[str, int] = {}
    for row in rows:
        spent[row.job_id] = spent.get(row.job_id, 0) + _cost(row, now)
    return to_usd(sum(max(0, high - spent.get(job_id, 0)) for job_id, high in waiting))


def month_limit(db: Database, month: str, client: str = "") -> Decimal:
    """The month's budget in dollars: its row in `budgets`, else the settings' default."""
    mine = (budgets.c.month == month) & (budgets.c.client == client)
    with db.read() as c:
        found = c.execute(select(budgets.c.limit_micro).where(mine)).scalar()
    return db.settings.month_budget_usd if found is None else to_usd(found)


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
