"""The month's money as a person reads it: one JSON object for terminal, form and message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from brightrun.budget import moment_in, month_bounds, month_name
from brightrun.errors import UsageError
from brightrun.ledger import Ledger
from brightrun.settings import load

EARLY = timedelta(days=2)  # a month's first days say nothing about its pace
DEAREST = 10
MONTHS = 6


def opened(month: str = "") -> tuple[Ledger, datetime]:
    """The ledger, and a moment of that month ("": the one that runs); UsageError: no month."""
    settings, now = load(), datetime.now(UTC)
    zone = settings.zone
    try:
        moment = moment_in(month or month_name(now, zone), now, zone)
    except ValueError:
        raise UsageError(f"{month!r} is no month", fix="write it as 2026-11") from None
    return Ledger.open(settings), moment


def month(ledger: Ledger, moment: datetime, client: str = "") -> dict[str, Any]:
    """Limit, spent, committed, left and waiting of the month of a moment; clients; active jobs.

    client: of that one alone; UsageError when it has no budget of its own.
    """
    if client:
        state = ledger.budget_states(moment, client)[1]
        if state is None:
            raise UsageError(
                f"{client} has no budget of its own",
                fix=f"set one: brightrun budget set USD --client {client!r}",
            )
    else:
        state = ledger.budget_state(moment)
    row = ledger.month_limit_row(state.month, client)
    source = {"set_by": row.by, "note": row.note, "set_at": row.at.isoformat()} if row else None
    clients = [c.as_json() for c in ledger.by_client(moment) if client in ("", c.client)]
    return {
        **state.as_json(),
        "time_zone": ledger.settings.time_zone,
        "limit_set": source,
        "clients": clients,
        "active": [
            {
                "job_id": hold.job_id,
                "name": hold.name,
                "client": hold.client,
                "status": hold.status,
                "spent": float(hold.spent),
                "held": float(hold.held),
            }
            for hold in ledger.open_holds(moment, client)
        ],
    }


def change(
    ledger: Ledger,
    month: str,
    usd: Decimal,
    client: str,
    by: str,
    reason: str,
    *,
    more: bool = False,
) -> tuple[Decimal | None, Decimal]:
    """Set a month's limit ("": of every month), or give it so much more; (before, after).

    UsageError: nobody's decision, a raise without a reason, or of a limit that there is not.
    """
    if not by.strip():
        raise UsageError("a budget needs the name of who decides", fix="give your name")
    if more and not reason.strip():
        raise UsageError("a raise needs its reason", fix="say why, for the audit log")
    return ledger.set_month_limit(
        month, usd, set_by=by.strip(), note=reason, client=client, more=more
    )


def outlook(ledger: Ledger, now: datetime) -> dict[str, Any]:
    """Where the month ends: with what runs and waits, and at the pace of its days so far."""
    state, found = ledger.budget_state(now), ledger.forecast(now)
    first, after = month_bounds(now, ledger.settings.zone)
    pace = None
    if now - first >= EARLY:
        share = Decimal(str((after - first) / (now - first)))
        pace = float((found["spent"] * share).quantize(Decimal("0.01")))
    amounts = {name: float(usd) for name, usd in found.items()}
    return {
        "month": state.month,
        "limit": float(state.limit),
        **amounts,
        "at_this_pace": pace,
        "over_limit": found["likely"] > state.limit,
    }


def report(ledger: Ledger, moment: datetime) -> dict[str, Any]:
    """The month, its dearest jobs, the months before it, and every decision about money."""
    zone = ledger.settings.zone
    first, after = month_bounds(moment, zone)
    jobs = sorted(ledger.job_costs_within(first, after, moment), key=lambda j: -j[3])
    audit = ledger.audit_log(first, after)
    return {
        **month(ledger, moment),
        "months": [
            {"month": name, "spent": float(usd)}
            for name, usd in ledger.months_spent(moment, MONTHS)
        ],
        "jobs": [
            {"job_id": job_id, "client": client, "status": status, "usd": float(usd)}
            for job_id, client, status, usd in jobs[:DEAREST]
        ],
        "audit": [
            {
                "at": row.at.isoformat(),
                "who": row.who,
                "action": row.action,
                "month": row.month or month_name(row.at, zone),
                "client": row.client,
                "job_id": row.job_id,
                "before": None if row.before is None else float(row.before),
                "after": None if row.after is None else float(row.after),
                "reason": row.reason,
            }
            for row in audit
        ],
    }
