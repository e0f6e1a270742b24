"""Jobs and who drives them. Functions of an open ledger; use them through `Ledger`."""

from __future__ import annotations

import difflib
import hashlib
import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Unpack

import psutil
from sqlalchemy import Connection, Row, select, update

from brightrun.errors import ConfigurationError
from brightrun.jobs import JobRequest
from brightrun.ledger_budget_schema import holds
from brightrun.ledger_rows import FINAL, Claim, JobChanges, JobRow, Status
from brightrun.ledger_schema import jobs as table
from brightrun.ledger_store import Database, insert
from brightrun.money import to_micro, to_usd

_CHANGEABLE = frozenset(JobChanges.__optional_keys__)
# A driver on another host that has not renewed its claim for so long is believed gone; it is
# renewed four times as often (`pulse.beating`).
CLAIM_STALE_SECONDS = 120.0
_CLAIM = ("claim_driver", "claim_pid", "claim_host", "claim_at")
_INTERNAL = ("estimate_low_micro", "estimate_likely_micro", "estimate_high_micro")


def _row(found: Row[Any]) -> JobRow:
    fields = dict(found._mapping)
    driver, pid, host, at = (fields.pop(name) for name in _CLAIM)
    for name in _INTERNAL:
        del fields[name]
    limit = fields.pop("hard_limit_micro")
    fields["status"] = Status(fields["status"])
    return JobRow(
        **fields,
        hard_limit_usd=None if limit is None else to_usd(limit),
        claim=None if driver is None else Claim(driver, pid or 0, host or "", at),
    )


def create_job(
    db: Database,
    job_id: str,
    request: JobRequest | Mapping[str, Any],
    *,
    parent_job_id: str | None = None,
    at: datetime | None = None,
) -> JobRow:
    """Write a new job down, status `created`; writing the same id again returns the first row."""
    wish = request if isinstance(request, JobRequest) else JobRequest.model_validate(request)
    now = at or datetime.now(UTC)
    values = {
        "job_id": job_id,
        "status": Status.created.value,
        "name": wish.name,
        "client": wish.client,
        "requested_by": wish.requested_by,
        "notes": wish.notes,
        "preset": wish.preset.value,
        "provider": wish.provider,
        "market": wish.market.value,
        "gpu": wish.gpu,
        "base_model": wish.base_model,
        "training_file": wish.training_file,
        "request": wish.model_dump(mode="json"),
        "parent_job_id": parent_job_id,
        "created_at": now,
        "updated_at": now,
    }
    with db.write() as c:
        c.execute(insert(c, table).values(values).on_conflict_do_nothing())
        return _row(c.execute(select(table).where(table.c.job_id == job_id)).one())


def owner(db: Database) -> str:
    """Six hex digits by which this ledger's pods are told from another one's in the same account;
    they come from its oldest job, and without a job there is no pod."""
    first = select(table.c.job_id, table.c.created_at).order_by(table.c.created_at, table.c.job_id)
    with db.read() as c:
        found = c.execute(first.limit(1)).one_or_none()
    text = "" if found is None else f"{found.job_id} {found.created_at.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def job(db: Database, job_id: str) -> JobRow:
    """A job by its id or a unique prefix; ConfigurationError lists the ones that come near."""
    with db.read() as c:
        exact = c.execute(select(table).where(table.c.job_id == job_id)).one_or_none()
        if exact is not None:
            return _row(exact)
        newest = table.c.created_at.desc()
        like = select(table).where(table.c.job_id.startswith(job_id, autoescape=True))
        found = c.execute(like.order_by(newest).limit(6)).all() if job_id else []
        if len(found) == 1:
            return _row(found[0])
        known = c.execute(select(table.c.job_id).order_by(newest).limit(500)).scalars().all()
    if found:
        names = ", ".join(row.job_id for row in found[:5]) + (", ..." if len(found) > 5 else "")
        raise ConfigurationError(f"{job_id!r} is the beginning of several jobs: {names}")
    near = difflib.get_close_matches(job_id, known, n=3, cutoff=0.5) or known[:3]
    raise ConfigurationError(
        f"there is no job {job_id!r}" + (f"; near: {', '.join(near)}" if near else ""),
        fix="see `brightrun jobs`",
    )


def has_job(db: Database, job_id: str) -> bool:
    """Whether there is a job of exactly this id."""
    with db.read() as c:
        return c.execute(select(table.c.job_id).where(table.c.job_id == job_id)).first() is not None


def list_jobs(
    db: Database,
    limit: int | None = 50,
    *,
    status: Status | str | None = None,
    provider: str | None = None,
    moving: bool = False,
    runs: Collection[str] | None = None,
    adapter_sha256: str = "",
) -> tuple[JobRow, ...]:
    """Newest first; limit None means all. Every wish keeps fewer; moving: not at rest; runs: of
    these flow runs. A job's documents are tens of kilobytes: ask for no more than is needed."""
    query = select(table).order_by(table.c.created_at.desc(), table.c.job_id).limit(limit)
    if moving:
        query = query.where(table.c.status.not_in([s.value for s in (*FINAL, Status.paused)]))
    if runs is not None:
        query = query.where(table.c.flow_run_id.in_(runs))
    if adapter_sha256:
        query = query.where(table.c.adapter_sha256 == adapter_sha256)
    if status is not None:
        query = query.where(table.c.status == Status(status).value)
    if provider is not None:
        query = query.where(table.c.provider == provider)
    with db.read() as c:
        return tuple(map(_row, c.execute(query)))


def jobs_with_spec(db: Database, spec_hash: str) -> tuple[JobRow, ...]:
    """Jobs whose frozen spec has this hash, newest first."""
    query = select(table).where(table.c.spec_hash == spec_hash)
    with db.read() as c:
        return tuple(map(_row, c.execute(query.order_by(table.c.created_at.desc()))))


def update_job(db: Database, job_id: str, **changes: Unpack[JobChanges]) -> JobRow:
    """Set fields of a job (full id); `estimate` is an `Estimate.as_json()`.

    A final status sets finished_at, `running` sets started_at, when they were not set before.
    """
    unknown = set(changes) - _CHANGEABLE
    if unknown:
        raise TypeError(f"a job has no field {', '.join(sorted(unknown))}")
    now = datetime.now(UTC)
    values: dict[str, Any] = {**changes, "updated_at": now}
    if "hard_limit_usd" in values:
        limit = values.pop("hard_limit_usd")
        values["hard_limit_micro"] = None if limit is None else to_micro(limit)
    if "estimate" in values:
        cost = (values["estimate"] or {}).get("cost_usd", {})
        for bound in ("low", "likely", "high"):
            usd = cost.get(bound)
            micro = None if usd is None else to_micro(Decimal(str(usd)))
            values[f"estimate_{bound}_micro"] = micro
    with db.write() as c:
        query = select(table).where(table.c.job_id == job_id).with_for_update()
        before = c.execute(query).one_or_none()
        if before is None:
            raise ConfigurationError(f"there is no job {job_id!r}", fix="see `brightrun jobs`")
        if "status" in values:
            status = Status(values["status"])
            values["status"] = status.value
            if status is Status.running and before.started_at is None:
                values.setdefault("started_at", now)
            if status in FINAL and before.finished_at is None:
                values.setdefault("finished_at", now)
            if status in FINAL:
                _release_hold(c, job_id, now)
        c.execute(update(table).where(table.c.job_id == job_id).values(values))
        return _row(c.execute(select(table).where(table.c.job_id == job_id)).one())


def _release_hold(c: Connection, job_id: str, now: datetime) -> None:
    """An ended job may spend no more: from here on only what it has cost counts."""
    mine = (holds.c.job_id == job_id) & holds.c.released_at.is_(None)
    c.execute(update(holds).where(mine).values(released_at=now))


def end_job(
    db: Database,
    job_id: str,
    status: Status,
    error: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> bool:
    """Write down how a job ended, or that it rests (paused); False: it has ended already, and its
    first end stands."""
    now, ends = at or datetime.now(UTC), status in FINAL
    ended: dict[str, Any] = {"status": status.value, "updated_at": now}
    ended |= {"finished_at": now} if ends else {}
    ended |= {"error": dict(error)} if error is not None else {}
    still_open = (table.c.job_id == job_id) & table.c.status.not_in([s.value for s in FINAL])
    with db.write() as c:
        if c.execute(update(table).where(still_open).values(ended)).rowcount != 1:
            return False
        if ends:
            _release_hold(c, job_id, now)
        return True


def process_is_alive(pid: int, since: datetime | None = None) -> bool:
    """Whether a process of this machine runs; one that only waits to be buried does not.

    since: a moment at which it already ran, so that a reused pid is not taken for it.
    """
    try:
        process = psutil.Process(pid)
        if since is not None and process.create_time() > since.timestamp() + 1:
            return False
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_elsewhere(claim: Claim) -> bool:
    """Whether a process of another host made it."""
    return claim.host != socket.gethostname()


def driver_lives(claim: Claim, now: datetime, here: str, stale_seconds: float) -> bool:
    """A process of this host is looked at; one of another host has renewed its claim lately."""
    if claim.host == here:
        return process_is_alive(claim.pid, claim.at)
    return now - claim.at <= timedelta(seconds=stale_seconds)


def is_driven(row: JobRow, now: datetime | None = None) -> bool:
    """Whether a process drives the job, as far as this host can tell."""
    moment = now or datetime.now(UTC)
    return row.claim is not None and driver_lives(
        row.claim, moment, socket.gethostname(), CLAIM_STALE_SECONDS
    )


def claim(
    db: Database,
    job_id: str,
    driver: str,
    *,
    pid: int | None = None,
    host: str | None = None,
    now: datetime | None = None,
    stale_seconds: float = CLAIM_STALE_SECONDS,
) -> bool:
    """Become the job's one driver. False: another one is alive and has renewed its claim lately.

    A claim made on this host is taken over as soon as its process is gone, and never before;
    one of another host when it is older than stale_seconds.
    """
    moment, here = now or datetime.now(UTC), host or socket.gethostname()
    with db.write() as c:
        query = select(table).where(table.c.job_id == job_id).with_for_update()
        found = c.execute(query).one_or_none()
        if found is None:
            raise ConfigurationError(f"there is no job {job_id!r}", fix="see `brightrun jobs`")
        held = _row(found).claim
        rival = held if held is not None and held.driver != driver else None
        if rival is not None and driver_lives(rival, moment, here, stale_seconds):
            return False
        mine = dict(zip(_CLAIM, (driver, pid or os.getpid(), here, moment), strict=True))
        c.execute(update(table).where(table.c.job_id == job_id).values(mine))
        return True


def renew_claim(db: Database, job_id: str, driver: str, now: datetime | None = None) -> bool:
    """Say that the driver is alive; False when another one has taken the job over."""
    mine = (table.c.job_id == job_id) & (table.c.claim_driver == driver)
    with db.write() as c:
        done = c.execute(update(table).where(mine).values(claim_at=now or datetime.now(UTC)))
        return bool(done.rowcount == 1)


def release_claim(db: Database, job_id: str, driver: str, before: Claim | None = None) -> None:
    """Give the job free, or back to the claim that was taken over; nothing happens when it is
    another driver's."""
    mine = (table.c.job_id == job_id) & (table.c.claim_driver == driver)
    left = astuple(before) if before else (None,) * len(_CLAIM)
    with db.write() as c:
        c.execute(update(table).where(mine).values(dict(zip(_CLAIM, left, strict=True))))
