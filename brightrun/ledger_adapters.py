"""Which adapter stands where, and what the nights did. Use through `Ledger`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from brightrun import nightly
from brightrun.adapters import ROLLED_BACK, AdapterRow, MoveRow, NightRow, Stage, before
from brightrun.errors import ConfigurationError
from brightrun.ledger_adapter_schema import adapter_moves, adapters, nights
from brightrun.ledger_money import cost_of
from brightrun.ledger_rows import FINAL, Status
from brightrun.ledger_schema import attempts, jobs
from brightrun.ledger_store import Database, insert
from brightrun.money import to_usd

SOURCE = jobs.c.spec["data"]["source_sha256"].as_string()  # hash of what a job trains on


def register_adapter(
    db: Database, job_id: str, series: str, adapter_sha256: str, source_sha256: str
) -> AdapterRow:
    """A finished job's adapter, `stored`; a job that finishes again keeps its stage."""
    facts = {"adapter_sha256": adapter_sha256, "source_sha256": source_sha256, "series": series}
    first = {"stage": Stage.stored.value, "created_at": datetime.now(UTC)}
    with db.write() as c:
        row = insert(c, adapters).values(job_id=job_id, **facts, **first)
        c.execute(row.on_conflict_do_update(index_elements=["job_id"], set_=facts))
        return _adapter(c.execute(select(adapters).where(adapters.c.job_id == job_id)).one())


def trained_on(db: Database, name: str, path: str) -> str:
    """Content hash of what the newest completed job of a file was trained on, "" without one."""
    mine = _trains(name, path) & (jobs.c.status == Status.completed.value)
    query = select(SOURCE).where(mine).order_by(jobs.c.finished_at.desc()).limit(1)
    with db.read() as c:
        return str(c.execute(query).scalar() or "")


def not_ended(db: Database, name: str, path: str, content: str) -> str:
    """The newest job that trains this content of a file and has not ended, "" without one.

    One that has not looked at its file yet will train what lies there.
    """
    open_ = jobs.c.status.not_in([status.value for status in FINAL])
    mine = _trains(name, path) & (func.coalesce(SOURCE, content) == content) & open_
    query = select(jobs.c.job_id).where(mine).order_by(jobs.c.created_at.desc()).limit(1)
    with db.read() as c:
        return str(c.execute(query).scalar() or "")


def client_of_file(db: Database, name: str, path: str) -> str:
    """For whom the newest job that trains a file was asked for, "" without one."""
    query = select(jobs.c.client).where(_trains(name, path)).order_by(jobs.c.created_at.desc())
    with db.read() as c:
        return str(c.execute(query.limit(1)).scalar() or "")


def _trains(name: str, path: str) -> ColumnElement[bool]:
    """Jobs of a file that train all of it: no smoke test, no assessment of an adapter there is."""
    wish = jobs.c.request
    return (
        jobs.c.training_file.in_([name, path])
        & func.coalesce(wish["smoke"].as_boolean(), False).is_(False)
        & (func.coalesce(wish["assesses"].as_string(), "") == "")
    )


def _of_night(night: str) -> ColumnElement[bool]:
    asked: ColumnElement[str] = jobs.c.request["notes"].as_string()
    return (asked == nightly.note(night)) & (jobs.c.requested_by == nightly.BY)


def night_cost(db: Database, night: str, now: datetime) -> Decimal:
    """Dollars of the jobs that a night has started."""
    query = select(attempts).join(jobs).where(_of_night(night))
    with db.read() as c:
        return to_usd(sum(cost_of(row, now) for row in c.execute(query)))


def states_of_night(db: Database, night: str) -> tuple[Status, ...]:
    """How its jobs stand, in the order in which it started them."""
    query = select(jobs.c.status).where(_of_night(night)).order_by(jobs.c.created_at)
    with db.read() as c:
        return tuple(map(Status, c.execute(query).scalars()))


def silent_nights(db: Database, since: datetime) -> tuple[NightRow, ...]:
    """Of the last two nights those that have not ended and where nothing has happened since a
    moment. A driver renews its claim; one that was killed leaves it as it was."""
    query = select(func.max(jobs.c.claim_at), func.max(jobs.c.updated_at))
    found = []
    for night in last_nights(db, 2):
        with db.read() as c:
            moves = c.execute(query.where(_of_night(night.night))).one()
        last = max([night.started_at, *filter(None, moves)])
        if night.finished_at is None and last <= since:
            found.append(night)
    return tuple(found)


def list_adapters(db: Database, series: str = "") -> tuple[AdapterRow, ...]:
    """Newest first; of one series, or of all."""
    query = select(adapters).order_by(adapters.c.created_at.desc(), adapters.c.job_id)
    if series:
        query = query.where(adapters.c.series == series)
    with db.read() as c:
        return tuple(map(_adapter, c.execute(query)))


def in_production(db: Database, series: str) -> AdapterRow | None:
    """The one that clients get."""
    with db.read() as c:
        return _production(c, series)


def _production(c: Connection, series: str) -> AdapterRow | None:
    mine = (adapters.c.series == series) & (adapters.c.stage == Stage.production.value)
    row = c.execute(select(adapters).where(mine)).one_or_none()
    return None if row is None else _adapter(row)


def move_adapter(
    db: Database, job_id: str, to: Stage, *, by: str, reason: str, at: datetime | None = None
) -> AdapterRow:
    """Put an adapter on a stage; what was in production then is archived, in the same transaction.

    ConfigurationError: there is no such adapter, or nobody is named.
    """
    if not by.strip():
        raise ConfigurationError("a move needs who decides", fix="say who: --by NAME")
    now = at or datetime.now(UTC)
    with db.write() as c:
        mine = select(adapters).where(adapters.c.job_id == job_id)
        series = c.execute(select(adapters.c.series).where(adapters.c.job_id == job_id)).scalar()
        if series is None:
            raise ConfigurationError(
                f"job {job_id} has no registered adapter", fix="see `brightrun adapters`"
            )
        # All of them, in one order: two moves at once would each put one into production.
        whole = select(adapters.c.job_id).where(adapters.c.series == series)
        c.execute(whole.order_by(adapters.c.job_id).with_for_update()).all()
        row = c.execute(mine).one()
        other = _production(c, row.series) if to is Stage.production else None
        if other is not None and other.job_id != job_id:
            why = f"replaced by {job_id}"
            _move(c, other, Stage.archived, by, why, now)
        _move(c, _adapter(row), to, by, reason, now)
        return _adapter(c.execute(mine).one())


def _move(c: Connection, row: AdapterRow, to: Stage, by: str, reason: str, at: datetime) -> None:
    if row.stage is to:
        return
    mine = adapters.c.job_id == row.job_id
    c.execute(update(adapters).where(mine).values(stage=to.value))
    said = {"before": row.stage.value, "after": to.value, "who": by, "reason": reason, "at": at}
    c.execute(adapter_moves.insert().values(job_id=row.job_id, series=row.series, **said))


def roll_back(db: Database, series: str, *, by: str, reason: str) -> AdapterRow:
    """The adapter that was in production before the present one comes back.

    ConfigurationError: there was none.
    """
    present = in_production(db, series)
    found = before(moves(db, series), present.job_id if present else "")
    if not found:
        raise ConfigurationError(
            f"no adapter of {series!r} was in production before", fix="see `brightrun adapters`"
        )
    return move_adapter(db, found, Stage.production, by=by, reason=f"{ROLLED_BACK}{reason}")


def moves(db: Database, series: str = "") -> tuple[MoveRow, ...]:
    """Who moved which adapter, oldest first."""
    query = select(adapter_moves).order_by(adapter_moves.c.id)
    if series:
        query = query.where(adapter_moves.c.series == series)
    with db.read() as c:
        return tuple(
            MoveRow(r.job_id, r.series, Stage(r.before), Stage(r.after), r.who, r.reason, r.at)
            for r in c.execute(query)
        )


def begin_night(db: Database, night: str, at: datetime, *, again: bool = False) -> bool:
    """Claim a night; False: it was begun already (again: take it all the same)."""
    with db.write() as c:
        row = insert(c, nights).values(night=night, started_at=at)
        if again:
            fresh = {"started_at": at, "finished_at": None, "report": None}
            c.execute(row.on_conflict_do_update(index_elements=["night"], set_=fresh))
            return True
        done = c.execute(row.on_conflict_do_nothing().returning(nights.c.night))
        return done.scalar() is not None


def end_night(db: Database, night: str, report: dict[str, Any], at: datetime) -> None:
    """What a night has done."""
    with db.write() as c:
        mine = nights.c.night == night
        c.execute(update(nights).where(mine).values(finished_at=at, report=report))


def last_nights(db: Database, limit: int = 7) -> tuple[NightRow, ...]:
    """Newest first; finished_at None: it runs, or was killed."""
    query = select(nights).order_by(nights.c.night.desc()).limit(limit)
    with db.read() as c:
        return tuple(
            NightRow(r.night, r.started_at, r.finished_at, r.report) for r in c.execute(query)
        )


def _adapter(row: Row[Any]) -> AdapterRow:
    return AdapterRow(
        job_id=row.job_id,
        series=row.series,
        stage=Stage(row.stage),
        adapter_sha256=row.adapter_sha256,
        source_sha256=row.source_sha256,
        created_at=row.created_at,
    )
