"""Commands about reports: report, reports, verify. Nothing here needs a GPU or Prefect."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.errors import ReportError, UsageError
from flows.options import Job, Json

if TYPE_CHECKING:
    from brightrun.ledger_reports import ReportRow

KINDS = ("validation",)
Brand = Annotated[
    Path | None, typer.Option("--brand", help="Brand file (TOML): name, logo, colours, words.")
]
By = Annotated[str, typer.Option("--by", help="Who issues it. Default: git or system user.")]


def report(
    job: Job,
    kind: Annotated[str, typer.Option(help=f"One of: {', '.join(KINDS)}.")] = "validation",
    brand: Brand = None,
    figures: Annotated[
        Path | None, typer.Option(help="The client's own figures (TOML), for cost and benefit.")
    ] = None,
    audience: Annotated[str, typer.Option("--for", help="Who reads it, e.g. 'the board'.")] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """Make another report of a job that was evaluated: numbered, stamped, without a GPU."""
    from brightrun.brand import read as read_brand
    from brightrun.context import open_job
    from brightrun.figures import read as read_figures
    from flows.cli_decide import whoami
    from reports import issuing, words

    if kind not in KINDS:
        raise UsageError(f"no kind of report {kind!r}", fix=f"one of: {', '.join(KINDS)}")
    chosen = read_brand(brand) if brand else None
    if chosen:
        words.words(chosen)
    made = issuing.again(
        open_job(job),
        brand=chosen,
        figures=read_figures(figures) if figures else None,
        audience=audience,
        by=by.strip() or whoami(),
    )
    tell_issued(made, json)


def tell_issued(made: ReportRow, json: bool) -> None:
    """What was made, for a person or a program."""
    from flows.terminal import emit, facts

    if json:
        emit(as_json(made))
        return
    place = Path(made.folder)
    facts(
        f"Report {made.report_id}",
        [
            ("for", made.audience),
            *((Path(name).suffix[1:], place / name) for name in sorted(made.files)),
            ("sha256 of its data", made.fingerprint),
        ],
    )


def reports(
    client: Annotated[str, typer.Option(help="Only this client's.")] = "",
    since: Annotated[str, typer.Option(help="Issued on or after, UTC: 2026-11-01.")] = "",
    json: Json = False,
) -> None:
    """Reports that were issued, newest first; and a searchable page over all jobs."""
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.cli_money import day_of
    from flows.terminal import emit, say, table
    from reports import library

    first = datetime.combine(day_of(since), datetime.min.time(), UTC) if since else None
    settings = load()
    ledger = Ledger.open(settings)
    found = ledger.reports(client=client or None, since=first)
    page = library.write(ledger, settings.home.resolve() / "reports")
    if json:
        emit({"page": str(page), "reports": [as_json(row) for row in found]})
        return
    rows = [
        (r.report_id, r.client, r.audience, r.issued_at and f"{r.issued_at:%Y-%m-%d %H:%M}")
        for r in found
    ]
    table("Reports", ("report", "client", "for", "issued (UTC)"), rows, keep=("report",))
    say(f"All jobs, to search: {page.as_uri()}")


def verify(
    file: Annotated[Path, typer.Argument(help="A PDF, HTML, PowerPoint or report.json")],
    json: Json = False,
) -> None:
    """Whether a file is a report that was issued here, byte for byte; exit 1 when it is not."""
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from brightrun.verifying import verify as look
    from flows.terminal import emit, tell

    found = look(Ledger.open(load()), file)
    if json:
        row = as_json(found.report) if found.report else None
        emit({"state": found.state, "sha256": found.sha256, "newer": found.newer, "report": row})
    elif found.report is not None and found.state == "genuine":
        issued = found.report.issued_at
        tell(f"Genuine: {found.name} of report {found.report.report_id}, issued {issued:%Y-%m-%d}.")
        if found.newer:
            tell(f"There is a newer version: {found.newer}.")
    if found.state == "genuine":
        return
    if json:
        raise typer.Exit(1)
    if found.report is not None:
        raise ReportError(
            f"{file.name} says that it is report {found.report.report_id}, and its bytes are "
            "not those that were issued",
            cause="it was changed after it was issued",
            fix=f"use the files in {found.report.folder}",
        )
    raise ReportError(
        f"{file.name} is no report of this ledger",
        cause="another ledger issued it, or it was never issued",
        fix="see `brightrun reports`; BRIGHTRUN_HOME and DATABASE_URL say which ledger is asked",
    )


def as_json(row: ReportRow) -> dict[str, Any]:
    """A report as plain values."""
    place = Path(row.folder)
    return {
        "report_id": row.report_id,
        "job_id": row.job_id,
        "kind": row.kind,
        "version": row.version,
        "audience": row.audience,
        "title": row.title,
        "client": row.client,
        "fingerprint": row.fingerprint,
        "engine": row.engine,
        "created_by": row.created_by,
        "issued_at": row.issued_at and row.issued_at.isoformat(),
        "files": {
            name: {"path": str(place / name), "sha256": f.sha256, "size": f.size}
            for name, f in sorted(row.files.items())
        },
    }
