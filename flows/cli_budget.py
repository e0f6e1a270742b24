"""`brightrun budget`: the month's money, where it ends, and what was decided about it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.options import Json

app = typer.Typer(
    help="The month's money: `show` (default), `set`, `raise`, `limits`, `approver`, `forecast`, "
    "`report`.",
    invoke_without_command=True,
)
MonthOption = Annotated[str, typer.Option(help='"2026-11". Default: the month that runs.')]
Client = Annotated[str, typer.Option(help="Only this client's budget. Default: all jobs.")]


@app.callback()
def default(
    context: typer.Context, month: MonthOption = "", client: Client = "", json: Json = False
) -> None:
    if context.invoked_subcommand is None:
        show(month, client, json)


@app.command()
def show(month: MonthOption = "", client: Client = "", json: Json = False) -> None:
    """Limit, spent, held, free; by client; and which jobs may still spend.

    Example: `brightrun budget show --client Acme`
    """
    from brightrun import budgeting
    from flows.terminal import emit

    ledger, moment = budgeting.opened(month)
    found = budgeting.month(ledger, moment, client)
    if json:
        emit(found)
    else:
        tell_month(found)


@app.command()
def forecast(json: Json = False) -> None:
    """Where this month ends: spent, running and waiting jobs, and at the pace so far."""
    from brightrun import budgeting
    from flows.terminal import emit, facts, money

    ledger, now = budgeting.opened()
    found = budgeting.outlook(ledger, now)
    if json:
        emit(found)
        return
    pace = found["at_this_pace"]
    facts(
        f"Forecast of {found['month']} ({ledger.settings.time_zone})",
        [
            ("spent", money(found["spent"])),
            ("running", f"{money(found['running_likely'])} more, likely"),
            ("waiting", f"{money(found['waiting_likely'])}, likely, of jobs before their gate"),
            ("together", f"{money(found['likely'])} likely, {money(found['most'])} at most"),
            ("at this pace", "too early to say" if pace is None else money(pace)),
            ("limit", money(found["limit"])),
        ],
    )


@app.command()
def report(month: MonthOption = "", json: Json = False) -> None:
    """A month for the books: clients, dearest jobs, months before, and who decided what."""
    from brightrun import budgeting
    from flows.terminal import emit, money, table

    ledger, moment = budgeting.opened(month)
    found = budgeting.report(ledger, moment)
    if json:
        emit(found)
        return
    tell_month(found)
    rows = [(m["month"], money(m["spent"])) for m in found["months"]]
    table("Months", ("month", "spent"), rows)
    jobs = [(j["job_id"], j["client"], j["status"], money(j["usd"])) for j in found["jobs"]]
    table("Dearest jobs", ("job", "client", "status", "this month"), jobs, keep=("job",))
    said = [
        (row["at"][:16].replace("T", " "), row["who"], row["action"],
         " -> ".join(money(x) for x in (row["before"], row["after"]) if x is not None),
         row["job_id"] or row["client"], row["reason"])
        for row in found["audit"]
    ]  # fmt: skip
    table("Decisions (UTC)", ("at", "who", "what", "amount", "of", "why"), said, keep=("at",))


def tell_month(found: dict[str, Any]) -> None:
    from flows.terminal import facts, money, table

    said = found["limit_set"]
    why = f" ({said['note']})" if said and said["note"] else ""
    source = f"set by {said['set_by']} on {said['set_at'][:10]}{why}" if said else "the default"
    whose = f" of {found['client']}" if found["client"] else ""
    facts(
        f"Budget{whose}, {found['month']} ({found['time_zone']})",
        [
            ("limit", f"{money(found['limit'])}, {source}"),
            ("spent", money(found["spent"])),
            ("committed", f"{money(found['committed'])} held for jobs that passed their gate"),
            ("left", money(found["left"])),
            ("waiting", f"{money(found['waiting'])} at most, of jobs before their gate"),
        ],
    )
    rows = [
        (row["client"] or "(no client)", money(row["spent"]), money(row["committed"]),
         "-" if row["limit"] is None else money(row["limit"]))
        for row in found["clients"]
    ]  # fmt: skip
    if rows:
        table("By client", ("client", "spent", "committed", "own limit"), rows)
    held = [
        (h["job_id"], h["name"], h["client"], h["status"], money(h["spent"]), money(h["held"]))
        for h in found["active"]
    ]
    if held:
        columns = ("job", "name", "client", "status", "spent", "may cost")
        table("Jobs that may still spend", columns, held, keep=("job",))
