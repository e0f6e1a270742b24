"""Many jobs at once, without their documents: a year of them in a second. Use through `Ledger`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, or_, select

from brightrun.durations import size_of
from brightrun.history import HistoryRow, Quality, Wanted
from brightrun.ledger_attempts import is_interruption
from brightrun.ledger_money import cost_of
from brightrun.ledger_schema import attempts, jobs, observations, verdicts
from brightrun.ledger_store import Database
from brightrun.money import to_usd
from brightrun.replay import Part, Past
from brightrun.verdicts import MetricName

_COLUMNS = (
    "job_id", "status", "stage", "name", "client", "requested_by", "preset", "provider",
    "training_file", "notes", "parent_job_id", "created_at", "started_at", "finished_at",
)  # fmt: skip
SEARCHED = ("job_id", "name", "notes", "client", "training_file")


def history(db: Database, wanted: Wanted, now: datetime) -> tuple[HistoryRow, ...]:
    """Jobs that fit, in no order; the cost is not filtered here (`history.chosen` does)."""
    j = jobs.c
    code = case((j.error.is_not(None), j.error["code"].as_string()), else_="")
    query = select(*(j[name] for name in _COLUMNS), j.estimate_likely_micro, code.label("code"))
    for name in ("status", "client", "preset"):
        if value := getattr(wanted, name):
            query = query.where(j[name] == value)
    if wanted.by:
        query = query.where(func.lower(j.requested_by) == wanted.by.lower())
    if wanted.since is not None:
        query = query.where(j.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(j.created_at < wanted.until)
    for word in wanted.text.split():
        like = [
            j[n].icontains(word, autoescape=True) for n in ("job_id", "name", "notes", "client")
        ]
        query = query.where(or_(*like, j.training_file.icontains(word, autoescape=True)))
    with db.read() as c:
        found = c.execute(query).all()
        costs, gained = _costs(c, now), _gains(c)
    return tuple(_row(row, costs.get(row.job_id), gained.get(row.job_id)) for row in found)


def observed_jobs(db: Database) -> tuple[Past, ...]:
    """Every finished job with what its parts took, oldest first, and what physics had guessed."""
    o = observations.c
    guess = jobs.c.estimate["guess_s"]
    key, took = (o.machine, o.model, o.precision), (o.part, o.tokens, o.seconds, o.cpu_seconds)
    query = select(o.job_id, *key, *took)
    with db.read() as c:
        rows = c.execute(query.order_by(o.at, o.job_id, o.part)).all()
        guesses = dict(c.execute(select(jobs.c.job_id, guess).where(guess.is_not(None))).all())
    found: dict[str, tuple[tuple[str, str, str], list[Part]]] = {}
    for job_id, machine, model, precision, part, tokens, seconds, cpu in rows:
        _, parts = found.setdefault(job_id, ((machine, model, precision), []))
        guess_s = (guesses.get(job_id) or {}).get(part)
        parts.append(Part(part, size_of(part, tokens), seconds, guess_s, cpu))
    return tuple(Past(job_id, key, tuple(parts)) for job_id, (key, parts) in found.items())


def _row(row: Any, pods: tuple[int, int, int] | None, quality: Quality | None) -> HistoryRow:
    micro, number, interrupted = pods or (0, 0, 0)
    likely = row.estimate_likely_micro
    return HistoryRow(
        **{name: getattr(row, name) for name in _COLUMNS},
        cost_usd=to_usd(micro),
        likely_usd=None if likely is None else to_usd(likely),
        pods=number,
        interruptions=interrupted,
        error_code=row.code or "",
        quality=quality,
    )


def _costs(c: Connection, now: datetime) -> dict[str, tuple[int, int, int]]:
    """Job -> (micro-dollars by now, pods, interruptions); pods that run count by the clock."""
    a = attempts.c
    broken = case((is_interruption(a.outcome), 1), else_=0)
    ended = func.coalesce(func.sum(a.cost_micro), 0)
    # Those that run are read first and then left out: one that ends in between counts once.
    live = c.execute(select(attempts).where(a.ended_at.is_(None))).all()
    query = select(a.job_id, ended, func.count(), func.sum(broken)).group_by(a.job_id)
    query = query.where(a.pod_name.not_in([pod.pod_name for pod in live]))
    found = {job: (int(usd), int(n), int(k)) for job, usd, n, k in c.execute(query)}
    for pod in live:
        usd, number, interrupted = found.get(pod.job_id, (0, 0, 0))
        found[pod.job_id] = (usd + cost_of(pod, now), number + 1, interrupted)
    return found


def _gains(c: Connection) -> dict[str, Quality]:
    v = verdicts.c
    mine = (v.metric == MetricName.emotional_intelligence.value) & v.estimate.is_not(None)
    rows = c.execute(select(v.job_id, v.estimate, v.ci_low, v.evidence).where(mine))
    return {row.job_id: Quality(row.estimate, row.ci_low, row.evidence) for row in rows}
