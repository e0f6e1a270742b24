"""Take a client's names and texts out of the ledger; the money stays. Use through `Ledger`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, select, update

from brightrun.ledger_adapter_schema import adapter_moves, adapters
from brightrun.ledger_audit import write_down
from brightrun.ledger_budget_schema import budget_log, gate_limits, holds
from brightrun.ledger_outbox_schema import outbox, threads
from brightrun.ledger_schema import (
    budgets,
    evaluations,
    events,
    feedback,
    jobs,
    templates,
    verdicts,
)
from brightrun.ledger_schema_delivery import reports, shares
from brightrun.ledger_store import Database

GONE = "forgotten"
OWN_FILES = ("scenarios_file", "questions_file", "prompts_file", "adapter")


def openly_shared(db: Database, now: datetime) -> set[str]:
    """Jobs to which a link is open."""
    live = shares.c.revoked_at.is_(None) & (shares.c.expires_at > now)
    with db.read() as c:
        return set(c.execute(select(shares.c.job_id).where(live)).scalars())


def report_folders(db: Database, client: str, ids: Sequence[str]) -> tuple[str, ...]:
    """Where the client's issued reports lie."""
    with db.read() as c:
        return tuple(c.execute(select(reports.c.folder).where(_theirs(client, ids))).scalars())


def _theirs(client: str, ids: Sequence[str]) -> ColumnElement[bool]:
    return (reports.c.client == client) | reports.c.job_id.in_(ids)


def forget_texts(db: Database, client: str, ids: Sequence[str], by: str, now: datetime) -> None:
    """Jobs keep id, times, status, preset and money; templates for the client go.

    The client is called by a number from then on, the same in every table, so that sums stay right.
    """
    alias = f"{GONE}-{hashlib.sha256(f'{client}:{now.isoformat()}'.encode()).hexdigest()[:8]}"
    with db.write() as c:
        blank = {"title": GONE, "client": alias, "subject": {}, "created_by": ""}
        c.execute(update(reports).where(_theirs(client, ids)).values(blank))
        for job_id in ids:
            _forget_job(c, job_id, alias)
        saved = c.execute(select(templates.c.name, templates.c.request)).all()
        names = [row.name for row in saved if row.request.get("client") == client]
        c.execute(delete(templates).where(templates.c.name.in_(names)))
        for table in (budgets, gate_limits, budget_log, holds):
            c.execute(update(table).where(table.c.client == client).values(client=alias))
        write_down(c, "forget client", who=by, at=now, client=alias, reason=f"{len(ids)} jobs")


def _forget_job(c: Connection, job_id: str, alias: str) -> None:
    request = c.execute(select(jobs.c.request).where(jobs.c.job_id == job_id)).scalar_one()
    texts = {"training_file": GONE, "name": "", "notes": "", "client": alias}
    own = {**dict.fromkeys(OWN_FILES, ""), "template": "", "beside": []}
    wish = {**request, **texts, **own}
    paths = dict.fromkeys(("run_folder", "report_html", "report_pdf", "package"), "")
    known = {"request": wish, "spec": None, "result": None, "error": None, **texts, **paths}
    c.execute(update(jobs).where(jobs.c.job_id == job_id).values(known))
    c.execute(update(verdicts).where(verdicts.c.job_id == job_id).values(note=""))
    for table in (evaluations, feedback, outbox, threads, adapter_moves, adapters, events):
        c.execute(delete(table).where(table.c.job_id == job_id))
    mine = shares.c.job_id == job_id
    c.execute(update(shares).where(mine).values(recipient=alias, purpose="", outcome_note=""))
