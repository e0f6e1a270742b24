"""Commands about money: budget, reconcile; and how a job's cost is told."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.errors import UsageError
from flows.options import Json

if TYPE_CHECKING:
    from brightrun.bill import Bill
    from brightrun.ledger import JobRow
    from brightrun.reckoning import Reckoning
    from brightrun.reconciling import Reconciliation


def budget(
    month: Annotated[str, typer.Option(help='"2026-11"; default: the month that runs, UTC.')] = "",
    set_: Annotated[str, typer.Option("--set", metavar="USD", help="The month's new limit.")] = "",
    by: Annotated[str, typer.Option(help="Who sets it. Default: git or system user.")] = "",
    note: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
    json: Json = False,
) -> None:
    """The month's limit, what is spent, committed and left, by client; sets the limit."""
    from brightrun.budget import moment_in, month_name
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.terminal import emit

    now = datetime.now(UTC)
    try:
        moment = moment_in(month or month_name(now), now)
    except ValueError:
        raise UsageError(f"{month!r} is no month", fix="write it as 2026-11") from None
    ledger, name = Ledger.open(load()), month_name(moment)
    if set_:
        set_limit(ledger, name, dollars_of(set_), by, note)
    elif by or note:
        raise UsageError("--by and --note belong to --set", fix="add --set USD")
    state, clients = ledger.budget_state(moment), ledger.by_client(moment)
    row = ledger.month_limit_row(name)
    source = {"set_by": row.by, "note": row.note, "set_at": row.at.isoformat()} if row else None
    found = {
        **state.as_json(),
        "limit_set": source,
        "clients": [client.as_json() for client in clients],
    }
    if json:
        emit(found)
    else:
        tell_month(found)


def reconcile(
    since: Annotated[
        str, typer.Option(help="First day, UTC: 2026-11-01. Default: a week ago.")
    ] = "",
    json: Json = False,
) -> None:
    """The ledger against each provider's own bill, pod by pod; exit 1 when a pod is alarming."""
    from brightrun import bookkeeping, reaper
    from brightrun.errors import ProviderError
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.terminal import complain, emit

    now, settings = datetime.now(UTC), load()
    first = bookkeeping.usual_since(now) if not since else bookkeeping.midnight(day_of(since))
    ledger = Ledger.open(settings)
    found, silent = [], {}
    for name in reaper.accounts(settings):
        try:
            found.append(bookkeeping.reconcile(ledger, name, first, now))
        except ProviderError as error:
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


def dollars_of(text: str) -> Decimal:
    """UsageError: not an amount of 0 or more."""
    try:
        usd = Decimal(text.strip().removeprefix("$").replace(",", ""))
    except InvalidOperation:
        usd = Decimal(-1)
    if not usd.is_finite() or not 0 <= usd < 10**9:
        raise UsageError(f"{text!r} is no amount of dollars", fix="write it as 750 or 750.50")
    return usd


def set_limit(ledger: Any, month: str, usd: Decimal, by: str, note: str) -> None:
    """Recorded with who and why; the one before is told, because it is replaced."""
    from flows.cli_decide import whoami
    from flows.terminal import say

    before, who = ledger.month_limit(month), by.strip() or whoami()
    ledger.set_month_limit(month, usd, set_by=who, note=note)
    say(f"Budget of {month}: ${usd:,.2f} instead of ${before:,.2f}, set by {who}.")


def tell_month(found: dict[str, Any]) -> None:
    from flows.terminal import facts, money, table

    said = found["limit_set"]
    why = f" ({said['note']})" if said and said["note"] else ""
    source = f"set by {said['set_by']} on {said['set_at'][:10]}{why}" if said else "the default"
    facts(
        f"Budget of {found['month']} (UTC)",
        [
            ("limit", f"{money(found['limit'])}, {source}"),
            ("spent", money(found["spent"])),
            ("committed", f"{money(found['committed'])} by jobs that wait or run"),
            ("left", money(found["left"])),
        ],
    )
    rows = [
        (row["client"] or "(no client)", money(row["spent"]), money(row["committed"]))
        for row in found["clients"]
    ]
    if rows:
        table("By client", ("client", "spent", "committed"), rows)


def tell_cost(row: JobRow, bill: Bill, against: Reckoning | None) -> None:
    """A job's bill by line; once it is over, actual against estimate by part."""
    from flows.terminal import table, tell
    from reports import moneywords, tables

    tell(f"Cost{'' if row.is_final else ' so far'}: {moneywords.so_far(bill, row.estimate or {})}")
    lines = [(line.name, f"${line.usd:,.6f}", line.basis) for line in bill.lines]
    table("Bill", ("line", "cost", "basis"), lines, keep=("line", "cost"))
    if row.is_final and against is not None:
        printed = tables.printed(moneywords.cost_table(against), tables.COST)
        tell(moneywords.against(against))
        table("Cost by part", printed.columns, printed.rows)
