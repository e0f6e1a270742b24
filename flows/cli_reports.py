"""Commands about reports: report, reports, verify. Nothing here needs a GPU or Prefect."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.errors import ReportError, UsageError
from flows.options import Json

if TYPE_CHECKING:
    from brightrun.brand import Brand as BrandFile
    from brightrun.ledger_reports import ReportRow
    from reports.render import Rendered

KINDS = ("validation", "slides", "one-pager", "battlecard", "cost")
Brand = Annotated[
    Path | None, typer.Option("--brand", help="Brand file (TOML): name, logo, colours, words.")
]
By = Annotated[str, typer.Option("--by", help="Who issues it. Default: git or system user.")]


def report(
    job: Annotated[str, typer.Argument(help="Job id; none: a month's cost (--kind cost)")] = "",
    kind: Annotated[str, typer.Option(help=f"One of: {', '.join(KINDS)}.")] = "validation",
    brand: Brand = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="TOML: the client's own figures; for --kind cost what clients paid."),
    ] = None,
    scenarios: Annotated[
        Path | None, typer.Option(help="Text file, one scenario id a line: shown as asked for.")
    ] = None,
    cells: Annotated[
        Path | None, typer.Option(help="--kind battlecard: TOML, what others offer, with sources.")
    ] = None,
    month: Annotated[str, typer.Option(help="--kind cost: 2026-11; default: this one.")] = "",
    client: Annotated[str, typer.Option(help="--kind cost: only this client's jobs.")] = "",
    audience: Annotated[str, typer.Option("--for", help="Who reads it, e.g. 'the board'.")] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """Make a report: numbered, stamped, from what is on record, without a GPU."""
    from brightrun.brand import read as read_brand
    from flows.cli_decide import whoami
    from reports import words

    if kind not in KINDS:
        raise UsageError(f"no kind of report {kind!r}", fix=f"one of: {', '.join(KINDS)}")
    if kind != "cost" and (month or client):
        raise UsageError("--month and --client belong to --kind cost", fix="leave them out")
    if not job and kind != "cost":
        raise UsageError("which job?", fix="brightrun report JOB; jobs: `brightrun jobs`")
    if (kind == "battlecard") != bool(cells):
        raise UsageError(
            "--kind battlecard and --cells belong together",
            fix="brightrun report JOB --kind battlecard --cells examples/battlecard.toml",
        )
    chosen = read_brand(brand) if brand else None
    if chosen:
        words.words(chosen)
    by = by.strip() or whoami()
    if kind == "cost":
        tell_issued(cost(job, month, client, chosen, figures, audience, by), json)
    else:
        tell_issued(of_job(job, kind, chosen, figures, scenarios, cells, audience, by), json)


def of_job(
    job: str,
    kind: str,
    brand: BrandFile | None,
    figures: Path | None,
    scenarios: Path | None,
    cells: Path | None,
    audience: str,
    by: str,
) -> ReportRow:
    """A report of a job's evaluation."""
    from brightrun.context import open_job
    from brightrun.figures import read as read_figures
    from brightrun.rivals import read as read_rivals
    from reports import battlecard, issuing, onepager, slides

    makers: dict[str, issuing.Make] = {"slides": slides.make, "one-pager": onepager.make}
    if cells:
        makers["battlecard"] = partial(battlecard.make, read_rivals(cells))
    known = open_job(job)
    evaluation = issuing.evaluation_of(known)
    if scenarios:
        from tasks import asked

        evaluation = asked.with_asked(known, evaluation, asked.names_in(scenarios))
    return issuing.again(
        known,
        evaluation=evaluation,
        kind=kind,
        make=makers.get(kind),
        brand=brand,
        figures=read_figures(figures) if figures else None,
        audience=audience,
        by=by,
    )


def cost(
    job: str,
    month: str,
    client: str,
    brand: BrandFile | None,
    revenue: Path | None,
    audience: str,
    by: str,
) -> ReportRow:
    """A cost report of a job, or of a month and perhaps one client."""
    from brightrun.brand import Brand as NoBrand
    from brightrun.context import open_job
    from brightrun.ledger import Ledger
    from brightrun.revenue import read as read_revenue
    from brightrun.settings import load
    from reports import costreport, costs, issuing

    if job and (month or client):
        raise UsageError("either a job or a month", fix="leave out JOB, or --month and --client")
    settings = load()
    ledger, paid = Ledger.open(settings), read_revenue(revenue) if revenue else None
    known = open_job(job) if job else None
    month = month or f"{datetime.now(UTC):%Y-%m}"
    data = (
        costs.of_job(known, paid)
        if known
        else costs.of_month(ledger, month, client=client, revenue=paid)
    )
    data = data.model_copy(update={"brand": brand or NoBrand()})
    scope = known.job_id if known else issuing.month_scope(month, client)
    place = known.reports_folder if known else settings.home.resolve() / "reports" / scope

    def write(taken: ReportRow) -> Rendered:
        stamped = data.model_copy(update={"issue": issuing.identity(taken)})
        return costreport.make(stamped, place / f"cost-{taken.version}")

    return issuing.numbered(
        ledger, scope, "cost", write, job_id=known.job_id if known else None,
        title=data.month or data.jobs[0].name, client=data.client, audience=audience,
        created_by=by, subject={"month": data.month},
    )  # fmt: skip


def compare(
    jobs: Annotated[list[str], typer.Argument(help="2 to 4 job ids", metavar="JOB JOB [JOB JOB]")],
    brand: Brand = None,
    audience: Annotated[str, typer.Option("--for", help="Who reads it.")] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """Runs side by side: losses, metrics, cost, time, settings that differ; HTML and PDF."""
    from brightrun.brand import Brand as NoBrand
    from brightrun.brand import read as read_brand
    from brightrun.context import open_job
    from flows.cli_decide import whoami
    from reports import comparison, issuing, runs, words

    if not runs.FEWEST <= len(jobs) <= runs.MOST:
        raise UsageError(f"{len(jobs)} jobs cannot be compared", fix="name 2 to 4")
    known = [open_job(job) for job in jobs]
    ids = [job.job_id for job in known]
    if len(set(ids)) < len(ids):
        raise UsageError(f"a job stands twice: {', '.join(ids)}", fix="name different ones")
    chosen = read_brand(brand) if brand else NoBrand()
    words.words(chosen)
    data = runs.gather(known).model_copy(update={"brand": chosen})
    scope = issuing.runs_scope(ids)
    place = known[0].settings.home.resolve() / "reports" / scope

    def write(taken: ReportRow) -> Rendered:
        stamped = data.model_copy(update={"issue": issuing.identity(taken)})
        return comparison.make(stamped, place / f"comparison-{taken.version}")

    clients = sorted({run.client for run in data.runs if run.client})
    made = issuing.numbered(
        known[0].ledger, scope, "comparison", write, title=" and ".join(ids),
        client=", ".join(clients), audience=audience, created_by=by.strip() or whoami(),
        subject={"jobs": ids},
    )  # fmt: skip
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
