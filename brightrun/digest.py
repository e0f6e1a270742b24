"""A day in one message: what ended, what runs, what waits for whom, and the month's money."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any

from brightrun import history
from brightrun.counting import count
from brightrun.history import HistoryRow, Wanted
from brightrun.ledger import Ledger
from brightrun.money import shown
from brightrun.notify import Message

SHOWN = 10


def day_before(now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Yesterday from midnight to midnight of the zone: 23, 24 or 25 hours."""
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    yesterday = (today - timedelta(days=1)).date()
    return datetime(yesterday.year, yesterday.month, yesterday.day, tzinfo=zone), today


def digest(ledger: Ledger, now: datetime) -> dict[str, Any]:
    """{day, ended, running, waiting, failed, usd, month, forecast, undelivered}."""
    first, after = day_before(now, ledger.settings.zone)
    rows = ledger.history(Wanted(), now)
    ended = [r for r in rows if r.finished_at is not None and first <= r.finished_at < after]
    usd = sum(cost for *_, cost in ledger.job_costs_within(first, after, now))
    return {
        "day": f"{first:%Y-%m-%d}",
        "ended": [line(row) for row in sorted(ended, key=history.ORDER["date"])],
        "running": [line(row) for row in rows if row.status in ("queued", "running")],
        "waiting": [line(row) for row in rows if row.status == "awaiting_approval"],
        "usd": float(usd),
        "month": ledger.budget_state(now).as_json(),
        "likely_usd": float(ledger.forecast(now)["likely"]),
        "undelivered": ledger.given_up(first, after),
    }


def line(row: HistoryRow) -> str:
    named = f" {row.name}" if row.name else ""
    why = f" ({row.error_code})" if row.error_code else ""
    return f"{row.job_id}{named}: {row.status}{why}, {shown(row.cost_usd)}"


def message(found: dict[str, Any]) -> Message:
    """The digest as people get it."""
    month, lines = found["month"], []
    for title, name in (("Ended", "ended"), ("Running", "running"), ("Waiting", "waiting")):
        rows = found[name]
        if rows:
            more = f"; and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
            lines.append(f"{title}: {'; '.join(rows[:SHOWN])}{more}")
    lines.append(
        f"Month {month['month']}: ${month['spent']:,.2f} of ${month['limit']:,.2f} spent, "
        f"${month['committed']:,.2f} held, ${month['left']:,.2f} free; "
        f"likely ${found['likely_usd']:,.2f} with all that runs and waits"
    )
    if found["waiting"]:
        lines.append("Approve: brightrun approve JOB --approver NAME")
    if found["undelivered"]:
        lines.append(f"{count(found['undelivered'], 'message')} could not be delivered")
    title = f"Bright Run, {found['day']}: {count(len(found['ended']), 'job')} ended, "
    return Message(title=f"{title}${found['usd']:,.2f}", lines=tuple(lines), kind="digest")
