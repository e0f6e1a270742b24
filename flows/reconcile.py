"""Every day: the ledger against each provider's own bill."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from prefect import State, flow

from brightrun import bookkeeping, reaper
from brightrun.ledger import Ledger
from brightrun.settings import load
from tasks import reconciling


@flow(name="reconcile", flow_run_name="reconcile")
def reconcile(since: date | None = None) -> list[State[Any]]:
    """Every cent of difference by pod and job, with its probable reason.

    Args:
        since: First day (UTC), 2026-11-01. Empty: a week ago.
    """
    now = datetime.now(UTC)
    first = bookkeeping.usual_since(now) if since is None else bookkeeping.midnight(since)
    # A provider that does not answer must not hide the others' bills.
    names = reaper.accounts(Ledger.open(load()))
    return [reconciling.reconcile(name, first, now, return_state=True) for name in names]
