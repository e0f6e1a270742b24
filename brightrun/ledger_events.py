"""Events of the pods and the training curve. Use these through `Ledger`.

Taking in the same events again changes nothing: (job, attempt, seq) is unique.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from brightrun.errors import ConfigurationError
from brightrun.ledger_rows import EventRow, MetricRow
from brightrun.ledger_schema import events as table
from brightrun.ledger_schema import metrics as metrics_table
from brightrun.ledger_store import Database, insert
from brightrun.runfolder import Event

_BATCH = 500
_NUMBERS = ("learning_rate", "grad_norm", "seconds", "tokens_per_s", "memory_mb")
_COUNTS = ("tokens", "supervised_tokens")


def ingest(db: Database, job_id: str, events: Iterable[Event]) -> int:
    """Take events in, in any order and as often as one likes; returns how many were new.

    A batch is committed with its metrics or not at all. ConfigurationError: no such job.
    """
    rest, new = iter(events), 0
    while batch := list(islice(rest, _BATCH)):
        try:
            with db.write() as c:
                new += _take(c, job_id, batch)
        except IntegrityError:
            raise ConfigurationError(f"there is no job {job_id!r}") from None
    return new


def _take(c: Connection, job_id: str, batch: Sequence[Event]) -> int:
    rows = [
        {
            "job_id": job_id,
            "attempt": e.attempt,
            "seq": e.seq,
            "ts": e.ts,
            "type": e.type,
            "payload": e.payload,
        }
        for e in batch
    ]
    statement = insert(c, table).on_conflict_do_nothing()
    fresh = {
        (attempt, seq)
        for attempt, seq in c.execute(statement.returning(table.c.attempt, table.c.seq), rows)
    }
    curve = [
        _metric(job_id, e) for e in batch if e.type == "metric" and (e.attempt, e.seq) in fresh
    ]
    if curve:
        c.execute(insert(c, metrics_table).on_conflict_do_nothing(), curve)
    return len(fresh)


def _metric(job_id: str, e: Event) -> dict[str, Any]:
    payload, validation = e.payload, "validation_loss" in e.payload
    loss = payload["validation_loss"] if validation else payload.get("loss")
    return {
        "job_id": job_id,
        "attempt": e.attempt,
        "seq": e.seq,
        "ts": e.ts,
        "step": int(payload["step"]),
        "validation": validation,
        "epoch": _number(payload.get("epoch")),
        "loss": _number(loss),
        **{name: _number(payload.get(name)) for name in _NUMBERS},
        **{name: _count(payload.get(name)) for name in _COUNTS},
    }


def _number(value: Any) -> float | None:
    """A finite float; NaN has no place in a curve (its event keeps it)."""
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def last_seq(db: Database, job_id: str, attempt: int) -> int:
    """Highest seq with nothing missing before it: read the run folder on from here. 0 = nothing."""
    mine = (table.c.job_id == job_id) & (table.c.attempt == attempt)
    with db.read() as c:
        count, top = c.execute(
            select(func.count(), func.coalesce(func.max(table.c.seq), 0)).where(mine)
        ).one()
        if count == top:
            return int(top)
        following = table.alias("following")
        gap = select(func.min(table.c.seq)).where(
            mine,
            ~select(following.c.id)
            .where(
                following.c.job_id == job_id,
                following.c.attempt == attempt,
                following.c.seq == table.c.seq + 1,
            )
            .exists(),
        )
        first = c.execute(select(func.min(table.c.seq)).where(mine)).scalar()
        return int(c.execute(gap).scalar() or 0) if first == 1 else 0


def events(
    db: Database,
    job_id: str,
    attempt: int | None = None,
    type: str | None = None,
    after_id: int = 0,
    limit: int | None = None,
) -> tuple[EventRow, ...]:
    """Events by attempt and seq; with after_id > 0 by arrival, for whoever follows along."""
    query = select(
        table.c.id, table.c.attempt, table.c.seq, table.c.ts, table.c.type, table.c.payload
    ).where(table.c.job_id == job_id)
    if attempt is not None:
        query = query.where(table.c.attempt == attempt)
    if type is not None:
        query = query.where(table.c.type == type)
    if after_id:
        query = query.where(table.c.id > after_id).order_by(table.c.id)
    else:
        query = query.order_by(table.c.attempt, table.c.seq)
    with db.read() as c:
        return tuple(EventRow(*row) for row in c.execute(query.limit(limit)))


def event_counts(db: Database, job_id: str, attempt: int | None = None) -> dict[str, int]:
    """Number of events by type."""
    query = select(table.c.type, func.count()).where(table.c.job_id == job_id)
    if attempt is not None:
        query = query.where(table.c.attempt == attempt)
    with db.read() as c:
        return {kind: int(n) for kind, n in c.execute(query.group_by(table.c.type))}


def last_event_at(db: Database, job_id: str, attempt: int) -> datetime | None:
    """The pod's own time of its newest event, None before the first."""
    mine = (table.c.job_id == job_id) & (table.c.attempt == attempt)
    query = select(table.c.ts).where(mine).order_by(table.c.seq.desc()).limit(1)
    with db.read() as c:
        return c.execute(query).scalar()


def last_progress_at(db: Database, job_id: str) -> datetime | None:
    """When a pod last did something that counts: no sign of life, no warning."""
    moved = table.c.type.in_(["stage", "metric", "checkpoint", "progress"])
    query = select(func.max(table.c.ts)).where(table.c.job_id == job_id, moved)
    with db.read() as c:
        return c.execute(query.where(table.c.attempt > 0)).scalar()


def metrics(db: Database, job_id: str) -> tuple[MetricRow, ...]:
    """The curve as it counts, by step: what a later attempt ran again replaces the earlier rows.

    A later attempt that began at step s makes everything void that earlier ones had from s on.
    """
    query = select(metrics_table).where(metrics_table.c.job_id == job_id)
    with db.read() as c:
        rows = c.execute(query.order_by(metrics_table.c.attempt, metrics_table.c.seq)).all()
    firsts: dict[int, int] = {}
    for row in rows:
        if not row.validation:
            firsts[row.attempt] = min(firsts.get(row.attempt, row.step), row.step)
    void_from = {
        attempt: min((s for later, s in firsts.items() if later > attempt), default=math.inf)
        for attempt in {row.attempt for row in rows}
    }
    kept = [row for row in rows if row.step < void_from[row.attempt]]
    train = {row.step: row for row in kept if not row.validation}
    checks = {row.step: row for row in kept if row.validation}
    return tuple(
        _joined(step, train.get(step), checks.get(step)) for step in sorted({*train, *checks})
    )


def _joined(step: int, train: Any, check: Any) -> MetricRow:
    row = train if train is not None else check
    return MetricRow(
        step=step,
        attempt=row.attempt,
        ts=row.ts,
        epoch=row.epoch,
        loss=None if train is None else train.loss,
        validation_loss=None if check is None else check.loss,
        tokens=row.tokens,
        supervised_tokens=row.supervised_tokens,
        **{name: getattr(row, name) for name in _NUMBERS},
    )
