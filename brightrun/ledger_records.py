"""What people and stages leave behind: approvals, artifacts, evaluations, files, alerts, history.

Use these through `Ledger`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, and_, case, delete, or_, select, true
from sqlalchemy.exc import IntegrityError

from brightrun.durations import Observed
from brightrun.errors import ConfigurationError
from brightrun.ledger_audit import write_down
from brightrun.ledger_rows import ApprovalRow, ArtifactRow, FileRow
from brightrun.ledger_schema import (
    approvals,
    artifacts,
    budget_alerts,
    evaluations,
    jobs,
    observations,
    registered_files,
    verdicts,
)
from brightrun.ledger_store import Database, insert
from brightrun.money import to_usd
from brightrun.verdicts import Evaluation, Verdict


def add_approval(
    db: Database,
    job_id: str,
    *,
    approved: bool,
    approver: str,
    note: str = "",
    override_budget: bool = False,
    at: datetime | None = None,
) -> ApprovalRow:
    """A person's word on a job, with the high estimate it was given for; earlier ones stay."""
    if not approver.strip():
        raise ConfigurationError("an approval needs a name", fix="say who: --approver NAME")
    with db.write() as c:
        query = select(jobs.c.estimate_high_micro).where(jobs.c.job_id == job_id)
        found = c.execute(query).one_or_none()
        if found is None:
            raise ConfigurationError(f"there is no job {job_id!r}", fix="see `brightrun jobs`")
        values = {
            "job_id": job_id,
            "approved": approved,
            "approver": approver.strip(),
            "note": note,
            "override_budget": override_budget,
            "estimate_high_micro": found[0],
            "at": at or datetime.now(UTC),
        }
        c.execute(approvals.insert().values(values))
        overrides = override_budget and approved and note.strip()
        action = "override budget" if overrides else "approve"
        write_down(
            c, action if approved else "reject", who=values["approver"], at=values["at"],
            job_id=job_id, after=found[0], reason=note,
        )  # fmt: skip
    latest = approval(db, job_id)
    assert latest is not None
    return latest


def approval(db: Database, job_id: str) -> ApprovalRow | None:
    """The last word said on a job, None when nobody has spoken."""
    mine = select(approvals).where(approvals.c.job_id == job_id)
    with db.read() as c:
        found = c.execute(mine.order_by(approvals.c.id.desc()).limit(1)).one_or_none()
    if found is None:
        return None
    high = found.estimate_high_micro
    return ApprovalRow(
        job_id=found.job_id,
        approved=found.approved,
        approver=found.approver,
        note=found.note,
        override_budget=found.override_budget,
        estimate_high_usd=None if high is None else to_usd(high),
        at=found.at,
    )


def add_artifact(
    db: Database, job_id: str, kind: str, uri: str, sha256: str, size: int
) -> ArtifactRow:
    """Register a written object; the same (kind, uri) again replaces its hash and size."""
    facts = {"sha256": sha256, "size": size, "created_at": datetime.now(UTC)}
    with db.write() as c:
        row = insert(c, artifacts).values(job_id=job_id, kind=kind, uri=uri, **facts)
        key = ["job_id", "kind", "uri"]
        c.execute(row.on_conflict_do_update(index_elements=key, set_=facts))
    return ArtifactRow(job_id, kind, uri, sha256, size, facts["created_at"])  # type: ignore[arg-type]


def list_artifacts(db: Database, job_id: str, kind: str | None = None) -> tuple[ArtifactRow, ...]:
    """Artifacts of a job in the order they were registered."""
    query = select(artifacts).where(artifacts.c.job_id == job_id).order_by(artifacts.c.id)
    if kind is not None:
        query = query.where(artifacts.c.kind == kind)
    with db.read() as c:
        return tuple(
            ArtifactRow(r.job_id, r.kind, r.uri, r.sha256, r.size, r.created_at)
            for r in c.execute(query)
        )


def save_evaluation(
    db: Database, job_id: str, evaluation: Evaluation, at: datetime | None = None
) -> None:
    """Keep what was concluded, and one row per verdict; an evaluation made again replaces it."""
    document = {
        "evaluation": evaluation.model_dump(mode="json"),
        "created_at": at or datetime.now(UTC),
    }
    # The columns that people query; the document beside them holds a verdict whole.
    kept = {column.name for column in verdicts.c} & set(Verdict.model_fields)
    rows = [
        {
            "job_id": job_id,
            **v.model_dump(mode="json", include=kept),
            "note": f"{v.proves_nothing} {v.note}".strip(),
        }
        for v in evaluation.verdicts
    ]
    with db.write() as c:
        row = insert(c, evaluations).values(job_id=job_id, **document)
        c.execute(row.on_conflict_do_update(index_elements=["job_id"], set_=document))
        c.execute(delete(verdicts).where(verdicts.c.job_id == job_id))
        if rows:
            c.execute(verdicts.insert(), rows)


def evaluation(db: Database, job_id: str) -> Evaluation | None:
    """The last evaluation of a job, None before there is one."""
    query = select(evaluations.c.evaluation).where(evaluations.c.job_id == job_id)
    with db.read() as c:
        found = c.execute(query).scalar()
    return None if found is None else Evaluation.model_validate(found)


# `Verdict.standing` of a row.
STANDING = case(
    (
        and_(verdicts.c.exploratory.is_(true()), verdicts.c.target_met != "not_measured"),
        "exploratory",
    ),
    else_=verdicts.c.target_met,
)


def verdicts_of_jobs(db: Database) -> dict[str, tuple[tuple[str, str, bool], ...]]:
    """(metric, standing, has a target) of every verdict, by job."""
    v = verdicts.c
    found: dict[str, tuple[tuple[str, str, bool], ...]] = {}
    with db.read() as c:
        query = select(v.job_id, v.metric, STANDING, v.target.is_not(None)).order_by(v.id)
        for job_id, metric, met, has_target in c.execute(query):
            found[job_id] = (*found.get(job_id, ()), (metric, met, bool(has_target)))
    return found


def register_file(
    db: Database,
    name: str,
    path: str | Path,
    summary: Mapping[str, Any],
    sha256: str,
    at: datetime | None = None,
) -> FileRow:
    """Register a training file; the same name again replaces what was known."""
    facts = {
        "path": str(path),
        "summary": dict(summary),
        "sha256": sha256,
        "registered_at": at or datetime.now(UTC),
    }
    with db.write() as c:
        row = insert(c, registered_files).values(name=name, **facts)
        c.execute(row.on_conflict_do_update(index_elements=["name"], set_=facts))
    found = file(db, name)
    assert found is not None
    return found


def files(db: Database) -> tuple[FileRow, ...]:
    """Registered training files by name."""
    with db.read() as c:
        rows = c.execute(select(registered_files).order_by(registered_files.c.name)).all()
        return tuple(_file(c, row) for row in rows)


def file(db: Database, name: str) -> FileRow | None:
    """The file registered as `name`, or None."""
    with db.read() as c:
        query = select(registered_files).where(registered_files.c.name == name)
        row = c.execute(query).one_or_none()
        return None if row is None else _file(c, row)


def _file(c: Any, row: Row[Any]) -> FileRow:
    named = or_(jobs.c.training_file == row.name, jobs.c.training_file == row.path)
    newest = select(jobs.c.job_id).where(named).order_by(jobs.c.created_at.desc()).limit(1)
    return FileRow(**row._mapping, last_job=c.execute(newest).scalar())


def record_alert(
    db: Database,
    scope: str,
    threshold: str,
    message: str,
    *,
    client: str = "",
    at: datetime | None = None,
) -> bool:
    """True exactly once per (scope, client, threshold): then tell somebody. scope: month or job."""
    values = {
        "scope": scope,
        "client": client,
        "threshold": threshold,
        "message": message,
        "at": at or datetime.now(UTC),
    }
    with db.write() as c:
        row = insert(c, budget_alerts).values(values).on_conflict_do_nothing()
        return c.execute(row.returning(budget_alerts.c.id)).scalar() is not None


def alert_told(db: Database, scope: str, threshold: str) -> bool:
    """Whether `record_alert` has had this one, of no client."""
    a = budget_alerts.c
    mine = (a.scope == scope) & (a.client == "") & (a.threshold == threshold)
    with db.read() as c:
        return c.execute(select(a.id).where(mine)).scalar() is not None


def add_observations(
    db: Database, job_id: str, observed: Iterable[Observed], at: datetime | None = None
) -> None:
    """What the parts of a finished job took; one row a part, the last one counts."""
    now = at or datetime.now(UTC)
    try:
        with db.write() as c:
            for o in observed:
                facts = {
                    "machine": o.machine,
                    "model": o.model,
                    "precision": o.precision,
                    "tokens": o.tokens,
                    "seconds": o.seconds,
                    "cpu_seconds": o.cpu_seconds,
                    "at": now,
                }
                row = insert(c, observations).values(job_id=job_id, part=o.part, **facts)
                key = ["job_id", "part"]
                c.execute(row.on_conflict_do_update(index_elements=key, set_=facts))
    except IntegrityError:
        raise ConfigurationError(f"there is no job {job_id!r}") from None


def observed(db: Database, machine: str, model: str, limit: int = 300) -> tuple[Observed, ...]:
    """Newest rows of past jobs on a machine (`Machine.key`) with a model, for `costs.estimate`.

    limit: of rows; 19 jobs whose estimates are looked at, and 20 before them, have up to six each.
    """
    o = observations.c
    facts = (o.machine, o.model, o.precision, o.part, o.tokens, o.seconds, o.job_id, o.cpu_seconds)
    query = select(*facts)
    query = query.where(o.machine == machine, o.model == model)
    query = query.order_by(o.at.desc(), o.job_id, o.part).limit(limit)
    with db.read() as c:
        return tuple(Observed(*row) for row in c.execute(query))
