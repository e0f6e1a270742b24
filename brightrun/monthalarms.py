"""The month's thresholds: the words of their alarms, and those that no running job would raise.

A job tells what it reaches while it is followed (`alerts.check`). A bill that is booked afterwards,
a limit that somebody lowers and the end of a job that nobody drove are told by the reaper's flow.
"""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from brightrun import budget
from brightrun.budget import Alert, BudgetState
from brightrun.ledger import Ledger
from brightrun.money import shown
from brightrun.notify import Message
from brightrun.posting import put_out_once, send_raised

BILLED = timedelta(days=8)  # so long after a pod its bill may still be booked


def tell(ledger: Ledger, now: datetime) -> list[str]:
    """Every threshold of the month, and of each client's, that nobody has told of, in a month's
    first days also of the one before; returns what could not be delivered."""
    first = budget.month_bounds(now, ledger.settings.zone)[0]
    before = tell_of(ledger, first - timedelta(seconds=1)) if now - first < BILLED else []
    return [*before, *tell_of(ledger, now)]


def tell_of(ledger: Ledger, now: datetime) -> list[str]:
    """Of the month of a moment."""
    limited = [row.client for row in ledger.by_client(now) if row.client and row.limit is not None]
    owned = (ledger.budget_states(now, client)[1] for client in limited)
    problems: list[str] = []
    for state in (ledger.budget_state(now), *(own for own in owned if own is not None)):
        for alert in budget.month_alerts(state):
            words = partial(worded, ledger, alert, now)
            only = budget.channels(alert)
            raised = put_out_once(ledger, scope_of(state), alert.threshold, words, only)
            problems += send_raised(ledger, raised) if raised else []
    return problems


def worded(ledger: Ledger, alert: Alert, now: datetime) -> Message:
    lines = of_month(ledger, alert, now)
    return Message(kind="budget", title=f"Bright Run: {alert.message}", lines=lines)


def scope_of(month: BudgetState) -> str:
    """A limit that somebody has changed has thresholds of its own, which are told again."""
    whose = f" for {month.client}" if month.client else ""
    return f"{month.month}{whose} of ${month.limit:,.2f}"


def of_month(ledger: Ledger, alert: Alert, now: datetime) -> tuple[str, ...]:
    """Spending, remainder, who still spends, and the command that raises the limit."""
    month, own = ledger.budget_states(now, alert.client)
    state = own or month
    active = [
        f"{hold.job_id} {hold.name}".strip() + f": {shown(hold.spent)} of {shown(hold.held)}"
        for hold in ledger.open_holds(now, alert.client)
    ]
    return (
        f"Spent {shown(state.spent)} of {shown(state.limit)}; held for jobs that run "
        f"{shown(state.committed)}; free {shown(state.left)}",
        f"Active jobs: {'; '.join(active) or 'none'}",
        f"Raise the limit: {raising(state)} (or the deployment **budget**)",
    )


def raising(state: BudgetState) -> str:
    """The command that gives the month a fifth more."""
    client = f" --client {shlex.quote(state.client)}" if state.client else ""
    more = max(Decimal(1), (state.limit / 5).quantize(Decimal(1)))
    return f"brightrun budget raise {more}{client} --month {state.month} --reason WHY --by NAME"
