"""`brightrun budget set | raise | limits | approver`: who may spend how much."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.errors import UsageError
from flows import cli_budget
from flows.cli_budget import Client, MonthOption
from flows.options import Json

if TYPE_CHECKING:
    from brightrun.ledger import Ledger

app = cli_budget.app
By = Annotated[str, typer.Option(help="Who decides. Default: git or system user.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit log.")]


@app.command("set")
def set_(
    usd: Annotated[str, typer.Argument(metavar="USD", help="The new limit, e.g. 750.")],
    month: MonthOption = "",
    client: Client = "",
    every_month: Annotated[
        bool, typer.Option("--every-month", help="For every month that has no limit of its own.")
    ] = False,
    by: By = "",
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Set a month's limit, of all jobs or of one client.

    Example: `brightrun budget set 750 --by Ann --reason "two clients more"`
    """
    from brightrun import budgeting
    from brightrun.budget import month_name

    ledger, moment = budgeting.opened(month)
    name = "" if every_month else month_name(moment, ledger.settings.zone)
    change(ledger, name, dollars_of(usd), client, by, reason, json)


@app.command("raise")
def raise_(
    usd: Annotated[str, typer.Argument(metavar="USD", help="So much more, e.g. 100.")],
    month: MonthOption = "",
    client: Client = "",
    by: By = "",
    reason: Annotated[str, typer.Option(help="Why, for the audit log; needed.")] = "",
    json: Json = False,
) -> None:
    """Give a month so many dollars more than it has; alerts of the new limit are told anew.

    Example: `brightrun budget raise 100 --by Ann --reason "one more run for Acme"`
    """
    from brightrun import budgeting
    from brightrun.budget import month_name

    ledger, moment = budgeting.opened(month)
    name = month_name(moment, ledger.settings.zone)
    change(ledger, name, dollars_of(usd), client, by, reason, json, more=True)


@app.command()
def limits(
    client: Client = "",
    warn: Annotated[
        str,
        typer.Option(help="Warn above: 100, or 1.5x = 1.5 times the usual cost, or default."),
    ] = "",
    approve: Annotated[
        str,
        typer.Option(help="Approval above: 150, or 2x, or 150,2x = the lower one, or default."),
    ] = "",
    by: By = "",
    reason: Reason = "",
    json: Json = False,
) -> None:
    """When a job warns and when it needs an approval; for a client, or for everybody.

    What is not given stays as it is. What a client has none of is everybody's.
    The usual cost is the median of the last 20 finished jobs of that client, preset and provider
    (at least 3). Example: `brightrun budget limits --client Acme --approve 80,2x --by Ann`
    """
    from brightrun import budgeting
    from flows.cli_decide import whoami
    from flows.terminal import emit, tell

    ledger, _ = budgeting.opened()
    if warn or approve:
        who = by.strip() or whoami()
        ledger.set_threshold(
            client, warn=threshold_of(warn), approve=threshold_of(approve), set_by=who, note=reason
        )
    rows, default = ledger.thresholds(client), ledger.settings
    if json:
        row = rows[0] if rows else None
        found = {"warn": str(row.warn), "approve": str(row.approve), "by": row.by} if row else None
        emit({"client": client, "limits": found, "approvers": approvers(ledger)})
        return
    for row in rows:
        whose = row.client or "Everybody"
        tell(f"{whose}: warning above {row.warn}, approval above {row.approve} (set by {row.by})")
    above = f"${default.warn_above_usd:,.2f}, approval above ${default.approve_above_usd:,.2f}"
    tell(f"Default: warning above {above}")
    for name, usd in approvers(ledger).items():
        tell(f"{name} may approve up to ${usd:,.2f}")


@app.command()
def approver(
    name: Annotated[str, typer.Argument(help='Who; "everybody" = all who are not named.')],
    usd: Annotated[str, typer.Argument(metavar="USD", help="Up to how much, e.g. 300.")],
    by: By = "",
    json: Json = False,
) -> None:
    """Up to how many dollars a person may approve a job. Without any row: everybody, any sum.

    Example: `brightrun budget approver "Ben Ode" 300 --by Ann`
    """
    from brightrun import budgeting
    from flows.cli_decide import whoami
    from flows.terminal import emit, say

    ledger, _ = budgeting.opened()
    who = "" if name.strip().casefold() == "everybody" else name
    ledger.set_approver(who, dollars_of(usd), set_by=by.strip() or whoami())
    if json:
        emit({"approvers": approvers(ledger)})
    say(f"{name} may approve up to ${dollars_of(usd):,.2f}.")


def change(
    ledger: Ledger, month: str, usd: Decimal, client: str, by: str, reason: str, as_json: bool,
    *, more: bool = False,
) -> None:  # fmt: skip
    """Recorded with who and why; the one before is told, because it is replaced."""
    from brightrun import budgeting
    from flows.cli_decide import whoami
    from flows.terminal import emit, say

    who = by.strip() or whoami()
    before, after = budgeting.change(ledger, month, usd, client, who, reason, more=more)
    was = "none" if before is None else f"${before:,.2f}"
    whose = f" of {client}" if client else ""
    when = month or "every month without its own"
    if as_json:
        old = None if before is None else float(before)
        emit({"month": month, "client": client, "before": old, "limit": float(after), "by": who})
    say(f"Budget{whose}, {when}: ${after:,.2f} instead of {was}, set by {who}.")


def approvers(ledger: Ledger) -> dict[str, float]:
    found = ledger.approver_limits()
    return {name or "everybody else": float(usd) for name, usd in found.items()}


def dollars_of(text: str) -> Decimal:
    """UsageError: not an amount of 0 or more."""
    try:
        usd = Decimal(text.strip().removeprefix("$").replace(",", ""))
    except InvalidOperation:
        usd = Decimal(-1)
    if not usd.is_finite() or not 0 <= usd < 10**9:
        raise UsageError(f"{text!r} is no amount of dollars", fix="write it as 750 or 750.50")
    return usd


def threshold_of(text: str) -> Any:
    """ "80,2x" -> $80 or twice the usual cost; "default" -> nothing of its own; "" -> None, as it
    was. UsageError: none of these."""
    from brightrun.budget import Threshold

    if not text or text.strip() == "default":
        return Threshold() if text else None
    usd, times = None, None
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part.endswith("x"):
            times = float(dollars_of(part[:-1]))
        else:
            usd = dollars_of(part)
    return Threshold(usd, times)
