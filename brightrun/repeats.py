"""Jobs that already paid for the same result: told before money is spent twice."""

from __future__ import annotations

from datetime import datetime

from brightrun.ledger import JobRow, Ledger, Status

ACTIVE = (Status.queued, Status.running, Status.evaluating, Status.reporting)


def paid_before(ledger: Ledger, job_id: str, spec_hash: str, now: datetime) -> tuple[str, ...]:
    """One sentence per other job with this spec that rented a pod or is about to, newest first."""
    return tuple(
        sentence(row, f"${ledger.cost_so_far(row.job_id, now):,.4f}")
        for row in ledger.jobs_with_spec(spec_hash)
        if row.job_id != job_id and (row.status in ACTIVE or ledger.attempts(row.job_id))
    )


def sentence(row: JobRow, cost: str) -> str:
    """Who, when, at which cost, and what to do instead of paying again."""
    asker = row.requested_by or "somebody unnamed"
    when = f"{row.created_at:%Y-%m-%d %H:%M} UTC"
    told = f"the same job exists: {row.job_id}, {asker}, {when}, {row.status}, {cost} spent"
    if row.status == Status.completed:
        return f"{told}; its report: {row.report_html or 'none'}"
    if row.at_rest:
        return f"{told}; `brightrun train --resume {row.job_id}` pays only what is left of it"
    return f"{told} so far; follow it with `brightrun watch {row.job_id}`"
