"""Who may decide on how much, which thresholds count for whom, and who changed what about money.

Use through `Ledger`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from statistics import median
from typing import Any

from sqlalchemy import Connection, func, select

from brightrun.budget import Limits, Threshold
from brightrun.ledger_budget_schema import approvers, budget_log, gate_limits
from brightrun.ledger_rows import AuditRow, Status, ThresholdRow
from brightrun.ledger_schema import attempts, jobs
from brightrun.ledger_store import Database, insert
from brightrun.money import to_micro, to_usd

USUAL_FROM = 3  # fewer finished jobs say nothing about the usual cost
USUAL_LAST = 20
EVERYBODY = ""


def write_down(
    c: Connection,
    action: str,
    *,
    who: str,
    at: datetime,
    month: str = "",
    client: str = "",
    job_id: str = "",
    before: int | None = None,
    after: int | None = None,
    reason: str = "",
) -> None:
    """A line of the audit log, in the transaction of what it tells of; micro-dollars."""
    values = {
        "at": at,
        "who": who,
        "action": action,
        "month": month,
        "client": client,
        "job_id": job_id,
        "before_micro": before,
        "after_micro": after,
        "reason": reason,
    }
    c.execute(budget_log.insert().values(values))


def audit_log(db: Database, first: datetime, after: datetime) -> tuple[AuditRow, ...]:
    """What was decided about money in [first, after), oldest first."""
    mine = (budget_log.c.at >= first) & (budget_log.c.at < after)
    with db.read() as c:
        rows = c.execute(select(budget_log).where(mine).order_by(budget_log.c.id)).all()
    return tuple(
        AuditRow(
            at=row.at,
            who=row.who,
            action=row.action,
            month=row.month,
            client=row.client,
            job_id=row.job_id,
            before=None if row.before_micro is None else to_usd(row.before_micro),
            after=None if row.after_micro is None else to_usd(row.after_micro),
            reason=row.reason,
        )
        for row in rows
    )


def usual_cost(db: Database, client: str, preset: str, provider: str) -> Decimal | None:
    """Median cost of the last finished jobs of a client with a preset; None below three of them."""
    mine = (
        (jobs.c.client == client)
        & (jobs.c.preset == preset)
        & (jobs.c.provider == provider)
        & (jobs.c.status == Status.completed.value)
    )
    newest = select(jobs.c.job_id).where(mine).order_by(jobs.c.created_at.desc()).limit(USUAL_LAST)
    cost = func.sum(attempts.c.cost_micro)
    query = select(cost).where(attempts.c.job_id.in_(newest)).group_by(attempts.c.job_id)
    with db.read() as c:
        found = [int(micro) for micro in c.execute(query).scalars() if micro is not None]
    return to_usd(round(median(found))) if len(found) >= USUAL_FROM else None


def thresholds(db: Database, client: str) -> tuple[ThresholdRow, ...]:
    """What somebody has set for this client, then for everybody; where neither: the settings."""
    with db.read() as c:
        query = select(gate_limits).where(gate_limits.c.client.in_([client, EVERYBODY]))
        rows = c.execute(query.order_by(gate_limits.c.client.desc())).all()
    return tuple(
        ThresholdRow(
            client=row.client,
            warn=Threshold(_usd(row.warn_micro), row.warn_times),
            approve=Threshold(_usd(row.approve_micro), row.approve_times),
            by=row.set_by,
            note=row.note,
            at=row.set_at,
        )
        for row in rows
    )


def limits_for(db: Database, client: str, preset: str, provider: str) -> Limits:
    """Dollars above which a job of this client warns, or needs an approval. What is not set for the
    client is everybody's, and the settings' where that is not set either."""
    rows, found = thresholds(db, client), Limits.of(db.settings)
    usual = usual_cost(db, client, preset, provider) if rows else None
    for row in reversed(rows):
        found = Limits(
            row.warn.dollars(usual, found.warn_above),
            row.approve.dollars(usual, found.approve_above),
        )
    return found


def set_threshold(
    db: Database,
    client: str,
    *,
    warn: Threshold | None = None,
    approve: Threshold | None = None,
    set_by: str,
    note: str = "",
    at: datetime | None = None,
) -> None:
    """Replace a client's thresholds ("": everybody's without their own); None: as it was."""
    now = at or datetime.now(UTC)
    facts: dict[str, Any] = {"set_by": set_by, "note": note, "set_at": now}
    for name, given in (("warn", warn), ("approve", approve)):
        if given is not None:
            facts |= {f"{name}_micro": _micro(given.usd), f"{name}_times": given.times}
    with db.write() as c:
        row = insert(c, gate_limits).values(client=client, **facts)
        c.execute(row.on_conflict_do_update(index_elements=["client"], set_=facts))
        words = (("warn", warn), ("approval", approve))
        said = ", ".join(f"{what} above {given}" for what, given in words if given is not None)
        reason = f"{said}: {note}" if note else said
        write_down(c, "set thresholds", who=set_by, at=now, client=client, reason=reason)


def may_approve(db: Database, name: str) -> Decimal | None:
    """Dollars up to which a person may approve; None: any. Capitals and spaces do not count."""
    with db.read() as c:
        rows = {row.name: row.limit_micro for row in c.execute(select(approvers))}
    found = rows.get(known_as(name), rows.get(EVERYBODY))
    return None if found is None else to_usd(found)


def approver_limits(db: Database) -> dict[str, Decimal]:
    """Name -> dollars; "" = everybody who is not named."""
    with db.read() as c:
        rows = c.execute(select(approvers).order_by(approvers.c.name)).all()
    return {row.name: to_usd(row.limit_micro) for row in rows}


def set_approver(
    db: Database, name: str, usd: Decimal, *, set_by: str, at: datetime | None = None
) -> None:
    """Up to how many dollars a person may approve."""
    now, who = at or datetime.now(UTC), known_as(name)
    facts = {"limit_micro": to_micro(usd), "set_by": set_by, "set_at": now}
    with db.write() as c:
        query = select(approvers.c.limit_micro).where(approvers.c.name == who)
        before = c.execute(query).scalar()
        row = insert(c, approvers).values(name=who, **facts)
        c.execute(row.on_conflict_do_update(index_elements=["name"], set_=facts))
        said = f"{who or 'everybody else'} may approve"
        write_down(
            c, "set approver", who=set_by, at=now, before=before, after=to_micro(usd), reason=said
        )


def known_as(name: str) -> str:
    return " ".join(name.casefold().split())


def _usd(micro: int | None) -> Decimal | None:
    return None if micro is None else to_usd(micro)


def _micro(usd: Decimal | None) -> int | None:
    return None if usd is None else to_micro(usd)
