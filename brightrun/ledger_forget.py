"""Take a client's names and texts out of the ledger; the money stays. Use through `Ledger`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, or_, select, update

from brightrun.ledger_adapter_schema import adapter_moves, adapters, nights
from brightrun.ledger_audit import write_down
from brightrun.ledger_budget_schema import budget_log, gate_limits, holds
from brightrun.ledger_outbox_schema import outbox, threads
from brightrun.ledger_schema import (
    approvals,
    budget_alerts,
    budgets,
    evaluations,
    events,
    feedback,
    jobs,
    registered_files,
    templates,
    verdicts,
)
from brightrun.ledger_schema_delivery import report_files, reports, shares
from brightrun.ledger_store import Database

GONE = "forgotten"
MONEY = {budgets: ["note"], gate_limits: ["note"], budget_log: ["reason"], holds: []}
# What people type about everybody; the client's name is replaced in it.
NOTES = (budget_log.c.reason, budgets.c.note, gate_limits.c.note, templates.c.notes)
LETTER = ("title", "lines", "links")
PATHS = ("template", "scenarios_file", "questions_file", "prompts_file", "lm_eval_tasks", "adapter")


def openly_shared(db: Database, now: datetime) -> set[str]:
    """Jobs to which a link is open."""
    live = shares.c.revoked_at.is_(None) & (shares.c.expires_at > now)
    with db.read() as c:
        return set(c.execute(select(shares.c.job_id).where(live)).scalars())


def report_folders(db: Database, client: str, ids: Sequence[str]) -> tuple[str, ...]:
    """Where the client's issued reports lie, comparisons with others among them."""
    with db.read() as c:
        return tuple(row.folder for row in _reports_of(c, client, ids))


def own_files(db: Database, ids: Sequence[str]) -> tuple[str, ...]:
    """Paths of the registered files that these jobs trained on, and no other job."""
    with db.read() as c:
        return tuple(row.path for row in _files_of(c, ids))


def _reports_of(c: Connection, client: str, ids: Sequence[str]) -> list[Row[Any]]:
    return [
        row
        for row in c.execute(select(reports))
        if row.client == client or {row.job_id, *row.subject.get("jobs", ())} & set(ids)
    ]


def forget_texts(db: Database, client: str, ids: Sequence[str], by: str, now: datetime) -> None:
    """Jobs keep id, times, status, preset and money; templates for the client go.

    The client is called by a number from then on, the same in every table, so that sums stay right.
    """
    alias = f"{GONE}-{hashlib.sha256(f'{client}:{now.isoformat()}'.encode()).hexdigest()[:8]}"
    with db.write() as c:
        files = [row.name for row in _files_of(c, ids)]
        told = _any_of([client, *_names(c, ids), *files])
        _forget_reports(c, client, ids, alias)
        for job_id in ids:
            _forget_job(c, job_id, alias)
        of_jobs = budget_log.c.job_id.in_(ids)
        c.execute(update(budget_log).where(of_jobs).values(reason=GONE))
        for table, texts in MONEY.items():
            mine = {"client": alias, **dict.fromkeys(texts, GONE)}
            c.execute(update(table).where(table.c.client == client).values(mine))
        for note in NOTES:
            _replace(c, note, _any_of([client]), alias)
        _forget_alarms(c, client, ids)
        _forget_letters(c, client, told, alias)
        _forget_nights(c, ids, told)
        for row in c.execute(select(templates)).all():
            if row.request.get("client") == client:
                c.execute(delete(templates).where(templates.c.name == row.name))
        c.execute(delete(registered_files).where(registered_files.c.name.in_(files)))
        write_down(c, "forget client", who=by, at=now, client=alias, reason=f"{len(ids)} jobs")


def _names(c: Connection, ids: Sequence[str]) -> set[str]:
    """What the client's jobs and their files are called, and nobody else's."""
    rows = c.execute(select(jobs.c.job_id, jobs.c.name, jobs.c.training_file)).all()

    def called(ours: bool) -> set[str]:
        names = [(r.name, r.training_file) for r in rows if (r.job_id in ids) is ours]
        return {word for name, file in names for word in (name, file, file.rsplit("/", 1)[-1])}

    others = {word.casefold() for word in called(False)}
    return {word for word in called(True) if word.casefold() not in others}


def _files_of(c: Connection, ids: Sequence[str]) -> list[Row[str, str]]:
    """Registered files that were trained on for this client and for nobody else."""
    uses = c.execute(select(jobs.c.training_file, jobs.c.job_id)).all()
    mine = {row.training_file for row in uses if row.job_id in ids}
    others = {row.training_file for row in uses if row.job_id not in ids}
    known = c.execute(select(registered_files.c.name, registered_files.c.path))
    return [row for row in known.all() if set(row) & mine and not set(row) & others]


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Any of these as whole words, in any capitals."""
    longest_first = sorted({word for word in words if word.strip()}, key=len, reverse=True)
    found = "|".join(map(re.escape, longest_first))
    return re.compile(rf"(?<!\w)(?:{found})(?!\w)", re.IGNORECASE)


def _forget_reports(c: Connection, client: str, ids: Sequence[str], alias: str) -> None:
    """A job's keep their hashes; those of a month or of several jobs are named after them: gone."""
    theirs = _reports_of(c, client, ids)
    kept, gone = ([r.report_id for r in theirs if bool(r.job_id) is own] for own in (True, False))
    blank = {"title": GONE, "client": alias, "subject": {}, "created_by": ""}
    c.execute(update(reports).where(reports.c.report_id.in_(kept)).values(blank))
    for table in (report_files, reports):
        c.execute(delete(table).where(table.c.report_id.in_(gone)))


def _forget_job(c: Connection, job_id: str, alias: str) -> None:
    request = c.execute(select(jobs.c.request).where(jobs.c.job_id == job_id)).scalar_one()
    texts = {"training_file": GONE, "name": "", "notes": "", "client": alias}
    wish = {**request, **texts, **dict.fromkeys(PATHS, ""), "beside": []}
    paths = dict.fromkeys(("run_folder", "report_html", "report_pdf", "package"), "")
    known = {"request": wish, "spec": None, "result": None, "error": None, **texts, **paths}
    c.execute(update(jobs).where(jobs.c.job_id == job_id).values(known))
    for table in (verdicts, approvals):
        c.execute(update(table).where(table.c.job_id == job_id).values(note=""))
    for table in (evaluations, feedback, outbox, threads, adapter_moves, adapters, events):
        c.execute(delete(table).where(table.c.job_id == job_id))
    blank = {"recipient": alias, "purpose": "", "outcome_note": "", "override_reason": ""}
    c.execute(update(shares).where(shares.c.job_id == job_id).values(blank))


def _replace(c: Connection, column: Any, told: re.Pattern[str], alias: str) -> None:
    for text in set(c.execute(select(column).where(column != "")).scalars()):
        if told.search(text):
            new = {column.name: told.sub(alias, text)}
            c.execute(update(column.table).where(column == text).values(new))


def _forget_alarms(c: Connection, client: str, ids: Sequence[str]) -> None:
    """That they were told; a limit of the client names it ("2026-11 for Acme of $50.00")."""
    a = budget_alerts.c
    mine = or_(
        a.client == client,
        a.scope.in_(ids),
        a.scope.contains(f" for {client} of $", autoescape=True),
    )
    c.execute(delete(budget_alerts).where(mine))


def _forget_letters(c: Connection, client: str, told: re.Pattern[str], alias: str) -> None:
    """Letters about other jobs and whole days stay, without the lines that name the client; a key
    holds its name in the scope of a budget."""
    for row in c.execute(select(outbox)).all():
        texts = {p: _blanked(row.message[p], told) for p in LETTER if p in row.message}
        values = {"key": _any_of([client]).sub(alias, row.key), "message": {**row.message, **texts}}
        if values != {"key": row.key, "message": row.message}:
            c.execute(update(outbox).where(outbox.c.id == row.id).values(values))


def _forget_nights(c: Connection, ids: Sequence[str], told: re.Pattern[str]) -> None:
    for row in c.execute(select(nights).where(nights.c.report.is_not(None))).all():
        files = [
            {**file, "name": GONE, "why": ""}
            if file.get("job_id") in ids or told.search(file["name"])
            else {**file, "why": _blanked(file["why"], told)}
            for file in row.report["files"]
        ]
        values = {"report": {**row.report, "files": files}}
        c.execute(update(nights).where(nights.c.night == row.night).values(values))


def _blanked(known: Any, told: re.Pattern[str]) -> Any:
    """A text that names the client is gone as a whole; in a list, each for itself."""
    if isinstance(known, str):
        return GONE if told.search(known) else known
    return [_blanked(part, told) for part in known]
