"""The month's budget: its limits, what is held for whom, and the gate's one transaction.

    decision = ledger.at_gate(job_id, decide, now)   # decides and holds, or does neither

A hold is a job's hard limit: the most that it may cost in all. It is placed in the transaction that
decides, so that two jobs never pass on the same dollar, and released when the job has ended: from
then on only what its pods have cost counts. Use through `Ledger`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import Connection, select, text

from brightrun.budget import BudgetState, ClientSpending, month_bounds, month_name
from brightrun.errors import UsageError
from brightrun.ledger_audit import write_down
from brightrun.ledger_budget_schema import holds
from brightrun.ledger_money import cost_of, spent_by_client
from brightrun.ledger_rows import BEFORE_GATE, HoldRow, LimitRow
from brightrun.ledger_schema import attempts, budgets, jobs
from brightrun.ledger_store import Database, insert
from brightrun.money import to_micro, to_usd

Decision = TypeVar("Decision")
EVERY_MONTH = ""
POSTGRES_LOCK = 6_227_303  # any number, the same for all of us, not the migration's


def at_gate(
    db: Database,
    job_id: str,
    decide: Callable[[BudgetState, BudgetState | None], tuple[Decision, Decimal | None]],
    now: datetime,
) -> Decision:
    """Decide on the month as it stands, and hold what was decided, in one transaction.

    decide(month, its client's month or None) -> (decision, dollars that the job may still spend;
    None: nothing is held). It must not touch the ledger.
    """
    with db.write() as c:
        _alone(c)
        client = str(c.execute(select(jobs.c.client).where(jobs.c.job_id == job_id)).scalar_one())
        decided, usd = decide(*_states(db, c, now, db.settings.zone, client, job_id))
        if usd is not None:
            pods = c.execute(select(attempts).where(attempts.c.job_id == job_id))
            micro = sum(cost_of(row, now) for row in pods) + to_micro(usd)
            facts = {"client": client, "hold_micro": micro, "placed_at": now, "released_at": None}
            row = insert(c, holds).values(job_id=job_id, **facts)
            c.execute(row.on_conflict_do_update(index_elements=["job_id"], set_=facts))
        return decided


def _alone(c: Connection) -> None:
    """Until the transaction ends; SQLite's writers wait for each other anyway."""
    if c.dialect.name == "postgresql":
        c.execute(text(f"SELECT pg_advisory_xact_lock({POSTGRES_LOCK})"))


def open_hold(db: Database, job_id: str) -> Decimal | None:
    """What is held for a job in all, None when nothing is."""
    mine = (holds.c.job_id == job_id) & holds.c.released_at.is_(None)
    with db.read() as c:
        micro = c.execute(select(holds.c.hold_micro).where(mine)).scalar()
    return None if micro is None else to_usd(micro)


def open_holds(db: Database, now: datetime, client: str = "") -> tuple[HoldRow, ...]:
    """Jobs that may still spend, the one that may spend most first; of one client, or of all."""
    with db.read() as c:
        found = [row for row in _held(c, now) if client in ("", row.client)]
    return tuple(sorted(found, key=lambda row: (-row.left, row.job_id)))


def _held(c: Connection, now: datetime, excluding: str = "") -> list[HoldRow]:
    mine = holds.c.released_at.is_(None) & (holds.c.job_id != excluding)
    columns = (holds, jobs.c.name, jobs.c.status, jobs.c.estimate_likely_micro)
    rows = c.execute(select(*columns).join(jobs).where(mine)).all()
    spent: dict[str, int] = {}
    ids = select(holds.c.job_id).where(mine)
    for pod in c.execute(select(attempts).where(attempts.c.job_id.in_(ids))):
        spent[pod.job_id] = spent.get(pod.job_id, 0) + cost_of(pod, now)
    return [
        HoldRow(
            job_id=row.job_id,
            name=row.name,
            client=row.client,
            status=row.status,
            held=to_usd(row.hold_micro),
            spent=to_usd(spent.get(row.job_id, 0)),
            likely=to_usd(row.estimate_likely_micro or row.hold_micro),
        )
        for row in rows
    ]


def _waiting(c: Connection, excluding: str = "") -> list[tuple[str, int, int]]:
    """(client, likely, high) micro-dollars of each job that has its estimate and no hold yet."""
    before = jobs.c.status.in_([status.value for status in BEFORE_GATE])
    unheld = ~select(holds.c.job_id).where(
        holds.c.job_id == jobs.c.job_id, holds.c.released_at.is_(None)
    ).exists()  # fmt: skip
    query = select(jobs.c.client, jobs.c.estimate_likely_micro, jobs.c.estimate_high_micro)
    mine = query.where(before, unheld, jobs.c.job_id != excluding)
    found = c.execute(mine.where(jobs.c.estimate_high_micro.is_not(None)))
    return [(client, likely or 0, high) for client, likely, high in found]


def _limit_row(c: Connection, month: str, client: str) -> Any:
    """The limit of that month, else the one that stands for every month."""
    mine = (budgets.c.month.in_([month, EVERY_MONTH])) & (budgets.c.client == client)
    return c.execute(select(budgets).where(mine).order_by(budgets.c.month.desc())).first()


def _states(
    db: Database, c: Connection, now: datetime, tz: tzinfo, client: str, excluding: str
) -> tuple[BudgetState, BudgetState | None]:
    """The month of all jobs, and of the client, when that one has a budget of its own."""
    month = month_name(now, tz)
    spent, held = spent_by_client(c, now, tz), _held(c, now, excluding)
    waiting = _waiting(c, excluding)

    def state(limit: Decimal, client: str) -> BudgetState:
        return BudgetState(
            month=month,
            limit=limit,
            spent=to_usd(sum(usd for name, usd in spent.items() if client in ("", name))),
            committed=sum((h.left for h in held if client in ("", h.client)), Decimal(0)),
            waiting=to_usd(sum(high for name, _, high in waiting if client in ("", name))),
            client=client,
        )

    found = _limit_row(c, month, "")
    whole = state(db.settings.month_budget_usd if found is None else _usd(found), "")
    own = _limit_row(c, month, client) if client else None
    return whole, None if own is None else state(_usd(own), client)


def _usd(row: Any) -> Decimal:
    return to_usd(row.limit_micro)


def budget_state(db: Database, now: datetime, *, excluding: str = "") -> BudgetState:
    """The month as the gate sees it; `excluding`: the job that stands at the gate."""
    return budget_states(db, now, "", excluding=excluding)[0]


def budget_states(
    db: Database, now: datetime, client: str, *, excluding: str = ""
) -> tuple[BudgetState, BudgetState | None]:
    """The month of all jobs, and of the client when it has a budget of its own, at one moment."""
    with db.read() as c:
        return _states(db, c, now, db.settings.zone, client, excluding)


def forecast(db: Database, now: datetime) -> dict[str, Decimal]:
    """Likely and highest dollars of the month with all that runs and waits, and both parts."""
    with db.read() as c:
        spent = to_usd(sum(spent_by_client(c, now, db.settings.zone).values()))
        held, waiting = _held(c, now), _waiting(c)
    running = sum((max(Decimal(0), h.likely - h.spent) for h in held), Decimal(0))
    queued = to_usd(sum(likely for _, likely, _ in waiting))
    most = sum((h.left for h in held), Decimal(0)) + to_usd(sum(high for *_, high in waiting))
    likely = spent + running + queued
    parts = {"spent": spent, "running_likely": running, "waiting_likely": queued}
    return {**parts, "likely": likely, "most": spent + most}


def by_client(db: Database, now: datetime, tz: tzinfo | None = None) -> tuple[ClientSpending, ...]:
    """The month's spending of each client, the dearest first; it sums to the month's."""
    zone = tz or db.settings.zone
    held: dict[str, Decimal] = {}
    with db.read() as c:
        spent = spent_by_client(c, now, zone)
        for row in _held(c, now):
            held[row.client] = held.get(row.client, Decimal(0)) + row.left
        month = month_name(now, zone)
        limited = c.execute(
            select(budgets.c.client).where(
                budgets.c.month.in_([month, EVERY_MONTH]), budgets.c.client != ""
            )
        ).scalars()
        names = {**spent, **held, **dict.fromkeys(limited)}
        limits = {name: _limit_row(c, month, name) if name else None for name in names}
    found = (
        ClientSpending(
            name,
            to_usd(spent.get(name, 0)),
            held.get(name, Decimal(0)),
            None if limits[name] is None else _usd(limits[name]),
        )
        for name in names
    )
    return tuple(sorted(found, key=lambda row: (-row.spent, -row.committed, row.client)))


def month_limit(db: Database, month: str, client: str = "") -> Decimal | None:
    """The month's budget in dollars; for all jobs the settings' default, for a client None."""
    found = month_limit_row(db, month, client)
    if found is not None:
        return found.usd
    return None if client else db.settings.month_budget_usd


def month_limit_row(db: Database, month: str, client: str = "") -> LimitRow | None:
    """The month's budget as somebody set it; None: the settings' default counts."""
    with db.read() as c:
        found = _limit_row(c, month, client)
    if found is None:
        return None
    every = found.month == EVERY_MONTH
    said = {"by": found.set_by, "note": found.note, "at": found.set_at, "every_month": every}
    return LimitRow(month=month, usd=_usd(found), **said)


def set_month_limit(
    db: Database,
    month: str,
    usd: Decimal,
    *,
    set_by: str,
    note: str = "",
    client: str = "",
    at: datetime | None = None,
    more: bool = False,
) -> tuple[Decimal | None, Decimal]:
    """Write down a month's budget ("2026-11"; "": of every month without its own); (before, after).

    A later one replaces it; what it replaced stays in the audit log. more: usd on top of what
    stands, read in the same transaction: of two raises at once none is lost. UsageError: there is
    nothing that could be raised.
    """
    now = at or datetime.now(UTC)
    with db.write() as c:
        _alone(c)
        row = _limit_row(c, month, client)
        was = None if row is None else int(row.limit_micro)
        if was is None and not client:
            was = to_micro(db.settings.month_budget_usd)
        if more and was is None:
            raise UsageError(
                f"{client} has no budget of its own that could be raised",
                fix=f"set one: brightrun budget set USD --client {client!r}",
            )
        after = to_micro(usd) + (was or 0 if more else 0)
        facts = {"limit_micro": after, "set_by": set_by, "note": note, "set_at": now}
        placed = insert(c, budgets).values(month=month, client=client, **facts)
        c.execute(placed.on_conflict_do_update(index_elements=["month", "client"], set_=facts))
        write_down(
            c, "set budget", who=set_by, at=now, month=month, client=client, before=was,
            after=after, reason=note,
        )  # fmt: skip
    return None if was is None else to_usd(was), to_usd(after)


def months_spent(db: Database, now: datetime, months: int) -> tuple[tuple[str, Decimal], ...]:
    """(month, dollars) of the last months, this one last."""
    zone, found, moment = db.settings.zone, [], now
    with db.read() as c:
        for _ in range(months):
            usd = to_usd(sum(spent_by_client(c, moment, zone).values()))
            found.append((month_name(moment, zone), usd))
            moment = month_bounds(moment, zone)[0] - timedelta(seconds=1)
    return tuple(reversed(found))
