"""The command reconcile, and how a job's cost is told."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from brightrun.errors import UsageError
from flows.options import Json

if TYPE_CHECKING:
    from brightrun.bill import Bill
    from brightrun.ledger import JobRow
    from brightrun.reckoning import Reckoning
    from brightrun.reconciling import Reconciliation


def reconcile(
    since: Annotated[
        str, typer.Option(help="First day, UTC: 2026-11-01. Default: a week ago.")
    ] = "",
    json: Json = False,
) -> None:
    """The ledger against each provider's own bill, pod by pod; exit 1 when a pod is alarming."""
    from brightrun import bookkeeping, reaper
    from brightrun.errors import ConfigurationError, ProviderError
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.terminal import complain, emit

    now, settings = datetime.now(UTC), load()
    first = bookkeeping.usual_since(now) if not since else bookkeeping.midnight(day_of(since))
    ledger = Ledger.open(settings)
    found, silent = [], {}
    for name in reaper.accounts(ledger):
        try:
            found.append(bookkeeping.reconcile(ledger, name, first, now))
        except (ConfigurationError, ProviderError) as error:
            silent[name] = error.as_dict()
            complain(error, as_json=False)
    if json:
        emit(
            {"since": f"{first:%Y-%m-%d}", "bills": [b.as_json() for b in found], "silent": silent}
        )
    else:
        for bill in found:
            tell_reconciliation(bill)
    if silent or any(bill.alarms for bill in found):
        raise typer.Exit(1)


def day_of(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day", fix="write it as 2026-11-01") from None


def tell_reconciliation(found: Reconciliation) -> None:
    from flows.terminal import table, tell
    from reports import billcards

    tell(billcards.headline(found))
    for line in billcards.beside(found):
        tell(f"  {line}")
    if shown := billcards.rows(found):
        table("Differences", billcards.COLUMNS, shown, keep=billcards.COLUMNS[2:5])


def tell_cost(row: JobRow, bill: Bill, against: Reckoning | None) -> None:
    """A job's bill by line; once it is over, actual against estimate by part."""
    from flows.terminal import table, tell
    from reports import moneywords, tables

    tell(f"Cost{'' if row.is_final else ' so far'}: {moneywords.so_far(bill, row.estimate or {})}")
    every = (*bill.lines, *bill.beside)
    lines = [(line.name, f"${line.usd:,.6f}", line.basis) for line in every]
    table("Bill", ("line", "cost", "basis"), lines, keep=("line", "cost"))
    if row.is_final and against is not None:
        printed = tables.printed(moneywords.cost_table(against), tables.COST)
        tell(moneywords.against(against))
        table("Cost by part", printed.columns, printed.rows)
