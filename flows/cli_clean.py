"""`brightrun clean` and `brightrun client forget`: storage, and what a client wants forgotten."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.options import Json

client = typer.Typer(help="Clients: what is kept of them, and how it goes.", no_args_is_help=True)
By = Annotated[str, typer.Option(help="Who decides. Default: git or system user.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it. Without it: only show.")]


def clean(
    yes: Yes = False,
    checkpoints: Annotated[
        int, typer.Option(min=0, help="Days that a completed job keeps its checkpoints.")
    ] = 7,
    other: Annotated[
        int, typer.Option(min=0, help="... a failed or cancelled one, which may go on.")
    ] = 30,
    run_folders: Annotated[
        int, typer.Option(min=1, help="Days that whole run folders are kept.")
    ] = 365,
    json: Json = False,
) -> None:
    """Remove checkpoints and old run folders of ended jobs; shows them first, `--yes` removes.

    Never of jobs that run or rest, of adapters in testing or production, or behind an open link.
    """
    from brightrun import cleaning
    from brightrun.ledger import Ledger
    from brightrun.retention import GB, Policy
    from brightrun.settings import load
    from flows.terminal import emit, money, say, table, tell

    ledger = Ledger.open(load())
    policy = Policy(
        completed_checkpoints=checkpoints, other_checkpoints=other, run_folders=run_folders
    )
    now = datetime.now(UTC)
    found, total = cleaning.plan(ledger, policy, now)
    skipped: list[str] = []
    if yes:
        planned, found = found, cleaning.carry_out(ledger, found, policy, now)
        skipped = [removal.job_id for removal in planned if removal not in found]
    freed = sum(removal.bytes for removal in found)
    if json:
        emit(
            {
                "removals": [removal.model_dump() for removal in found],
                "stored_bytes": total,
                "freed_bytes": freed,
                "usd_per_month": float(cleaning.usd_per_month(total, ledger)),
                "skipped": skipped,
                "done": yes,
            }
        )
        return
    rows = [(r.job_id, r.what or "run folder", f"{r.bytes / 1e6:,.1f} MB", r.why) for r in found]
    if rows:
        table("Removed" if yes else "Would be removed", ("job", "what", "size", "why"), rows)
    usd = money(float(cleaning.usd_per_month(total, ledger)))
    tell(f"Stored: {total / GB:,.3f} GB, {usd} a month; {freed / GB:,.3f} GB may go.")
    if skipped:
        say(f"Left alone, driven or gone on with since: {', '.join(skipped)}", "yellow")
    if rows and not yes:
        say("Nothing was removed; --yes does it.", "yellow")


@client.command("forget")
def forget(
    name: Annotated[str, typer.Argument(help="The client, as `brightrun jobs` shows it")],
    yes: Yes = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Remove a client's data, checkpoints, adapters, samples, reports; says what it keeps and why.

    Example: `brightrun client forget Acme` shows, `brightrun client forget Acme --yes` does it.
    """
    from brightrun import cleaning
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.cli_decide import whoami
    from flows.terminal import emit, say, tell

    ledger, who = Ledger.open(load()), by.strip() or whoami()
    found = cleaning.forget(ledger, name, who, datetime.now(UTC), dry_run=not yes)
    if json:
        emit(found)
        return
    verb = "Removed" if yes else "Would be removed"
    tell(f"{verb}: {len(found['jobs'])} jobs of {name}, {found['bytes'] / 1e6:,.1f} MB")
    if found["adapters_in_use"]:
        say(f"Among them adapters in use: {', '.join(found['adapters_in_use'])}", "yellow")
    for line in found["kept"]:
        tell(f"Kept: {line}")
    for line in found["not_ours"]:
        tell(f"Not removed here: {line}")
    if not yes:
        say("Nothing was removed; --yes does it, and it cannot be undone.", "yellow")
