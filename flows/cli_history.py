"""`brightrun jobs`: many jobs, filtered, sorted, summed up, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.errors import UsageError
from flows.options import Json

if TYPE_CHECKING:
    from brightrun.history import HistoryRow
    from brightrun.ledger import Ledger

COLUMNS = ("job", "status", "stage", "name", "client", "preset", "asked by", "cost", "created")
NARROW = ("job", "status", "stage", "name", "created")


def jobs(
    status: Annotated[str, typer.Option(help="Only this status, e.g. running, completed.")] = "",
    by: Annotated[str, typer.Option(help="Only whom this person asked for.")] = "",
    client: Annotated[str, typer.Option(help="Only this client's.")] = "",
    preset: Annotated[str, typer.Option(help="Only this preset.")] = "",
    since: Annotated[str, typer.Option(help="Created on this day or later: 2026-11-01.")] = "",
    until: Annotated[str, typer.Option(help="Created on this day or before.")] = "",
    cost_from: Annotated[str, typer.Option(metavar="USD", help="Cost so much or more.")] = "",
    cost_to: Annotated[str, typer.Option(metavar="USD", help="Cost so much or less.")] = "",
    text: Annotated[str, typer.Option(help="Words in id, name, notes, client or file.")] = "",
    sort: Annotated[str, typer.Option(help="date | cost | duration | quality (EI gain)")] = "date",
    summary: Annotated[
        bool, typer.Option("--summary", help="Success rate, costs, errors, presets, people.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="All that fit, as CSV on stdout.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="First so many.")] = 20,
    json: Json = False,
) -> None:
    """Jobs, newest first, or the dearest, longest or best; what is not measured stands last.

    Example: `brightrun jobs --client Acme --since 2026-11-01 --sort cost`
    """
    from brightrun.history import SORTS, Wanted, chosen
    from brightrun.history import summary as summed
    from brightrun.ledger import Ledger, Status
    from brightrun.settings import load
    from flows.cli_limits import dollars_of
    from flows.options import moment_of
    from flows.terminal import emit

    if status and status not in set(Status):
        raise UsageError(f"no status {status!r}", fix=f"one of: {', '.join(Status)}")
    if sort not in SORTS:
        raise UsageError(f"no order {sort!r}", fix=f"one of: {', '.join(SORTS)}")
    settings = load()
    zone, ledger = settings.zone, Ledger.open(settings)
    wanted = Wanted(
        status=status, by=by, client=client, preset=preset, text=text,
        since=moment_of(since, zone) if since else None,
        until=moment_of(until, zone) + timedelta(days=1) if until else None,
        cost_from=dollars_of(cost_from) if cost_from else None,
        cost_to=dollars_of(cost_to) if cost_to else None,
    )  # fmt: skip
    found = ledger.history(wanted, datetime.now(UTC))
    rows = chosen(found, wanted, sort, None if summary or as_csv else limit)
    if summary:
        said = summed(rows)
        emit(said) if json else tell_summary(said)
    elif as_csv:
        write_csv(rows)
    elif json:
        emit({"jobs": [{**row.as_json(), **estimated(ledger, row.job_id)} for row in rows]})
    else:
        show(rows)


def estimated(ledger: Ledger, job_id: str) -> dict[str, Any]:
    """What a job was estimated at, and its parts against it once it has ended."""
    row = ledger.job(job_id)
    kept = (row.result or {}).get("cost") or {}
    estimate = (row.estimate or {}).get("cost_usd")
    return {"estimate_usd": estimate, "against_estimate": kept.get("against_estimate")}


def write_csv(rows: list[HistoryRow]) -> None:
    """One line a job; the quality's parts in columns of their own."""
    from brightrun.spreadsheets import harmless

    facts = []
    for row in rows:
        flat = row.as_json()
        gained = flat.pop("quality") or {"gain": None, "ci_low": None, "evidence": None}
        facts.append({**flat, **{f"quality_{name}": value for name, value in gained.items()}})
    if facts:
        out = csv.DictWriter(sys.stdout, list(facts[0]))
        out.writeheader()
        out.writerows({k: harmless(v) for k, v in row.items()} for row in facts)


def show(rows: list[HistoryRow]) -> None:
    from flows.terminal import money, table, wide

    measured = any(row.quality is not None for row in rows)
    columns = (*COLUMNS, *(("EI gain",) if measured else ())) if wide() else NARROW
    cells = []
    for row in rows:
        line = {
            "job": row.job_id, "status": row.status, "stage": row.stage, "name": row.name,
            "client": row.client, "preset": row.preset, "asked by": row.requested_by,
            "cost": money(float(row.cost_usd)), "created": f"{row.created_at:%Y-%m-%d %H:%M}",
            "EI gain": "not measured" if row.quality is None else str(row.quality),
        }  # fmt: skip
        cells.append([line[column] for column in columns])
    table("Jobs", columns, cells, keep=("job", "status", "stage", "cost", "created"))


def tell_summary(said: dict[str, Any]) -> None:
    from flows.terminal import facts, money, table

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    best = said["most_cost_effective"]
    facts(
        f"Summary of {said['jobs']} jobs",
        [
            ("success rate", share(said["success_rate"])),
            ("by status", ", ".join(f"{k} {v}" for k, v in said["by_status"].items())),
            ("spent", money(said["total_usd"])),
            ("a finished job", said["average_usd"] is not None and money(said["average_usd"])),
            ("interruptions", f"{said['interruptions']} in {said['interrupted_jobs']} jobs"),
            ("errors", ", ".join(f"{k} {v}" for k, v in said["error_codes"].items())),
            ("best preset", best and f"{best['preset']}: {best['value']:.4g} {best['by']}"),
        ],
    )
    for title, groups in (("Presets", said["presets"]), ("People", said["people"])):
        cells = [
            (name or "(unnamed)", g["jobs"], g["completed"], share(g["success_rate"]),
             money(g["total_usd"]),
             "-" if g["usd_per_success"] is None else money(g["usd_per_success"]))
            for name, g in groups.items()
        ]  # fmt: skip
        table(title, ("", "jobs", "completed", "success", "spent", "per success"), cells)
