"""Issued reports: numbered, with the hash of every file. Use these through `Ledger`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, func, select, update

from brightrun.errors import ReportError
from brightrun.ledger_schema_delivery import report_files as files
from brightrun.ledger_schema_delivery import reports as table
from brightrun.ledger_store import Database


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What proves a file: sha256 (hex) and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One issue of a report. subject: what it is about besides the job, as its kind needs it."""

    report_id: str
    scope: str
    job_id: str | None
    kind: str
    version: int
    audience: str
    title: str
    client: str
    fingerprint: str
    folder: str
    engine: str
    created_by: str
    subject: dict[str, Any]
    created_at: datetime
    issued_at: datetime | None
    files: dict[str, FileFacts]


def reserve_report(
    db: Database,
    scope: str,
    kind: str,
    *,
    job_id: str | None = None,
    audience: str = "",
    title: str = "",
    client: str = "",
    created_by: str = "",
    subject: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> ReportRow:
    """Take the next version of a report; it is listed once `issue_report` has its files.

    A report that failed while it was made leaves a gap in the versions, and nothing else.
    """
    mine = (table.c.scope == scope) & (table.c.kind == kind)
    with db.write() as c:
        newest = c.execute(select(func.max(table.c.version)).where(mine)).scalar()
        version = (newest or 0) + 1
        report_id = f"{scope}-{kind}-{version}"
        c.execute(
            table.insert().values(
                report_id=report_id,
                scope=scope,
                job_id=job_id,
                kind=kind,
                version=version,
                audience=audience,
                title=title,
                client=client,
                created_by=created_by,
                subject=dict(subject or {}),
                created_at=at or datetime.now(UTC),
            )
        )
        return _row(c.execute(select(table).where(table.c.report_id == report_id)).one(), {})


def issue_report(
    db: Database,
    report_id: str,
    *,
    fingerprint: str,
    folder: str,
    engine: str,
    made: Mapping[str, FileFacts],
    at: datetime | None = None,
) -> ReportRow:
    """Write down what was made; once: an issued report never changes."""
    facts = {
        "fingerprint": fingerprint,
        "folder": folder,
        "engine": engine,
        "issued_at": at or datetime.now(UTC),
    }
    waiting = (table.c.report_id == report_id) & table.c.issued_at.is_(None)
    with db.write() as c:
        if c.execute(update(table).where(waiting).values(facts)).rowcount != 1:
            raise ReportError(
                f"report {report_id!r} was issued already", fix="make a new version of it"
            )
        rows = [
            {"report_id": report_id, "name": name, "sha256": f.sha256, "size": f.size}
            for name, f in made.items()
        ]
        c.execute(files.insert(), rows)
    return report(db, report_id)


def report(db: Database, report_id: str) -> ReportRow:
    """One report; ReportError when there is none of this id."""
    with db.read() as c:
        found = c.execute(select(table).where(table.c.report_id == report_id)).one_or_none()
        if found is None:
            raise ReportError(f"there is no report {report_id!r}", fix="see `brightrun reports`")
        mine = c.execute(select(files).where(files.c.report_id == report_id)).all()
    return _row(found, {row.name: FileFacts(row.sha256, row.size) for row in mine})


def list_reports(
    db: Database,
    *,
    job_id: str | None = None,
    client: str | None = None,
    since: datetime | None = None,
    kind: str | None = None,
) -> tuple[ReportRow, ...]:
    """Issued reports, newest first."""
    query = select(table).where(table.c.issued_at.is_not(None))
    if job_id is not None:
        query = query.where(table.c.job_id == job_id)
    if client is not None:
        query = query.where(func.lower(table.c.client) == client.lower())
    if since is not None:
        query = query.where(table.c.issued_at >= since)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    of: dict[str, dict[str, FileFacts]] = {}
    with db.read() as c:
        rows = c.execute(query.order_by(table.c.issued_at.desc(), table.c.report_id)).all()
        for row in c.execute(select(files)):
            of.setdefault(row.report_id, {})[row.name] = FileFacts(row.sha256, row.size)
    return tuple(_row(row, of.get(row.report_id, {})) for row in rows)


def report_of_file(db: Database, sha256: str) -> tuple[ReportRow, str] | None:
    """The report that a file belongs to, and its name there; None: nobody issued it."""
    with db.read() as c:
        query = select(files.c.report_id, files.c.name).where(files.c.sha256 == sha256)
        found = c.execute(query.order_by(files.c.report_id).limit(1)).one_or_none()
    return None if found is None else (report(db, found.report_id), found.name)


def _row(found: Row[Any], made: dict[str, FileFacts]) -> ReportRow:
    return ReportRow(**found._mapping, files=made)
