"""Every five minutes: end pods that must not run, close the books of jobs that nobody drives."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.settings import PREFECT_API_URL

from brightrun import reaper
from brightrun.ledger import Ledger
from brightrun.settings import load
from flows import tending
from tasks import people, reaping


@flow(name="reap", flow_run_name="reap")
def reap(dry_run: bool = False) -> list[State[Any]]:
    """End every pod with our name and no live job, over its age or over its budget.

    Args:
        dry_run: Whether to look only. On: show what would be ended. Off: end it.
    """
    # A provider that does not answer must not keep the others' pods running; nor may a job whose
    # books cannot be closed.
    names = reaper.accounts(Ledger.open(load()))
    ends = [reaping.reap(name, dry_run, return_state=True) for name in names]
    if not dry_run:
        sweep()
        people.month(return_state=True)
        people.night(return_state=True)
        people.deliver()
    return ends


def sweep() -> list[str]:
    """Jobs whose run has ended without a word, by the states of this server."""
    return tending.swept(Ledger.open(load()), PREFECT_API_URL.value())
