"""Reconcile the ledger with every provider's bill, and tell somebody when it does not fit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial

from brightrun.compute import provider_of
from brightrun.compute.provider import ComputeProvider
from brightrun.context import JobContext
from brightrun.ledger import Ledger
from brightrun.money import shown
from brightrun.notify import Message
from brightrun.posting import put_out_once, send_raised
from brightrun.reconciling import Difference, Reconciliation, compare

# Bills come late: a week shows that yesterday's difference has mended itself.
USUAL_DAYS = 7


def usual_since(now: datetime) -> datetime:
    """Midnight (UTC) a week ago: bills are cut at midnight."""
    return midnight(now.astimezone(UTC).date()) - timedelta(days=USUAL_DAYS)


def midnight(day: date) -> datetime:
    """The first moment of a day, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def reconcile(
    ledger: Ledger,
    name: str,
    since: datetime,
    now: datetime,
    provider: ComputeProvider | None = None,
) -> Reconciliation:
    """One provider's bill against the ledger. ProviderError: there is no bill to be had now."""
    asked = provider or provider_of(name, ledger.settings)
    return compare(
        asked.billing(since),
        ledger.cost_within(name, since, now, now),
        provider=name,
        notional=not asked.manners.far_away,
        since=since,
        now=now,
        owner=ledger.owner(),
    )


def book(ledger: Ledger, found: Reconciliation) -> int:
    """Take the provider's bill over where it is final; each change is an event of its job."""
    for pod in found.to_be_booked:
        ledger.book_bill(pod.job_id, pod.attempt, pod.billed_usd)
        said = (
            f"attempt {pod.attempt} cost ${pod.billed_usd:.6f} by {found.provider}'s bill, "
            f"${pod.ledger_usd:.6f} by the ledger: the bill is booked ({pod.reason})"
        )
        JobContext(ledger.settings, ledger, pod.job_id).note("choice", {"message": said})
    return len(found.to_be_booked)


def raise_alarms(ledger: Ledger, found: Reconciliation) -> list[str]:
    """Tell every channel of each alarm, once per pod; returns what could not be delivered."""
    problems: list[str] = []
    for pod in found.alarms:
        scope = f"pod {pod.pod_id or pod.pod_name}"
        if raised := put_out_once(ledger, scope, "bill", partial(alarm, found, pod)):
            problems += send_raised(ledger, raised)
    return problems


def alarm(found: Reconciliation, pod: Difference) -> Message:
    about = pod.pod_name or pod.pod_id
    return Message(
        kind="stop_failed",
        title=f"Bright Run: {found.provider} billed {shown(pod.billed_usd)} for pod {about}: "
        f"{pod.reason}",
        lines=(
            f"Ledger: {shown(pod.ledger_usd)}"
            + (f" (job {pod.job_id}, attempt {pod.attempt})" if pod.job_id else ""),
            f"Look: brightrun reap --dry-run, and pod {pod.pod_id} in the provider's console",
        ),
    )
