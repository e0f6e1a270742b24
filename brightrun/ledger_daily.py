"""What daily work keeps: templates, and who touched which job. Use through `Ledger`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, func, select

from brightrun.ledger_attempts import is_interruption
from brightrun.ledger_records import STANDING
from brightrun.ledger_rows import TemplateRow
from brightrun.ledger_schema import approvals, attempts, events, jobs, templates, verdicts
from brightrun.ledger_store import Database, insert
from brightrun.scorecard import Facts

BY_HAND = ("stopped:cancel", "stopped:pause", "stopped:switch")


def save_template(
    db: Database,
    name: str,
    request: Mapping[str, Any],
    *,
    by: str,
    notes: str = "",
    at: datetime | None = None,
) -> TemplateRow:
    """Keep a request under a name; the same name again replaces it."""
    facts = {
        "request": dict(request),
        "notes": notes,
        "created_by": by,
        "created_at": at or datetime.now(UTC),
    }
    with db.write() as c:
        row = insert(c, templates).values(name=name, **facts)
        c.execute(row.on_conflict_do_update(index_elements=["name"], set_=facts))
        return _template(c.execute(select(templates).where(templates.c.name == name)).one())


def list_templates(db: Database) -> tuple[TemplateRow, ...]:
    """All templates by name."""
    with db.read() as c:
        return tuple(map(_template, c.execute(select(templates).order_by(templates.c.name))))


def template(db: Database, name: str) -> TemplateRow | None:
    """The template of that name, or None."""
    with db.read() as c:
        row = c.execute(select(templates).where(templates.c.name == name)).one_or_none()
    return None if row is None else _template(row)


def _template(row: Row[Any]) -> TemplateRow:
    return TemplateRow(row.name, row.request, row.notes, row.created_by, row.created_at)


def score_facts(db: Database, since: datetime | None = None) -> Facts:
    """What the scorecard needs beside the rows of history; of jobs from a moment on, or of all."""
    a = attempts.c
    mine = select(jobs.c.job_id)
    if since is not None:
        mine = mine.where(jobs.c.created_at >= since)
    with db.read() as c:
        touched = set(c.execute(select(a.job_id).where(a.outcome.in_(BY_HAND))).scalars())
        # The control plane notes an error when a job ends early: whoever went on is a person.
        failed = (events.c.attempt == 0) & (events.c.type == "error")
        touched |= set(c.execute(select(events.c.job_id).where(failed).distinct()).scalars())
        late = select(approvals.c.job_id).join(jobs).where(approvals.c.at > jobs.c.started_at)
        touched |= set(c.execute(late).scalars())
        lost = is_interruption(a.outcome) & a.job_id.in_(mine)
        ends = c.execute(select(a.job_id, a.number, a.ended_at).where(lost)).all()
        ids = select(a.job_id).where(lost)
        starts = {
            (row.job_id, row.number): row.started_at
            for row in c.execute(select(a.job_id, a.number, a.started_at).where(a.job_id.in_(ids)))
        }
        met = c.execute(
            select(verdicts.c.metric, STANDING, func.count())
            .where(verdicts.c.job_id.in_(mine))
            .group_by(verdicts.c.metric, STANDING)
        ).all()
    gaps = (
        (starts.get((row.job_id, row.number + 1)), row.ended_at) for row in ends if row.ended_at
    )
    found: dict[str, dict[str, int]] = {}
    for metric, standing, n in met:
        found.setdefault(metric, {})[standing] = int(n)
    return Facts(
        touched=frozenset(touched),
        resume_minutes=tuple(
            (start - end).total_seconds() / 60 for start, end in gaps if start is not None
        ),
        verdicts=found,
    )
