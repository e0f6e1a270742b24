"""Change a month's limit, and show the month in the Prefect UI."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import budgeting
from brightrun.budget import month_name
from tasks import artifacts


@task(name="change budget", cache_policy=NO_CACHE)
def change(action: str, usd: Decimal, client: str, month: str, by: str, reason: str) -> None:
    """Who and why are recorded; what was before stays in the audit log."""
    ledger, moment = budgeting.opened(month)
    name = month_name(moment, ledger.settings.zone)
    budgeting.change(ledger, name, usd, client, by, reason, more=action == "raise")


@task(name="show budget", cache_policy=NO_CACHE)
def show(month: str, client: str) -> dict[str, Any]:
    """The month's numbers, its clients and the jobs that may still spend, as tables."""
    ledger, moment = budgeting.opened(month)
    found = budgeting.month(ledger, moment, client)
    head = [{"": k, "USD": found[k]} for k in ("limit", "spent", "committed", "left", "waiting")]
    artifacts.table("budget", head, f"Budget of {found['month']} ({found['time_zone']})")
    artifacts.table("budget-clients", found["clients"], "By client, in dollars")
    artifacts.table("budget-jobs", found["active"], "Jobs that may still spend, in dollars")
    return found
