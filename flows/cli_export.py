"""Commands that take data and weights out of a job: export, package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brightrun.errors import UsageError
from flows.options import Job, Json

WHAT = ("metrics", "examples")


def export(
    job: Job,
    what: Annotated[str, typer.Option(help="metrics | examples")] = "metrics",
    format_: Annotated[str, typer.Option("--format", help="csv | json | parquet")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File to write.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="The loss curve beside it, as SVG.")] = False,
    json: Json = False,
) -> None:
    """Every step's metrics, or the examples in full, for a spreadsheet or a notebook."""
    from brightrun.context import open_job
    from flows.terminal import emit, tell
    from reports import exporting, stephistory

    if what not in WHAT:
        raise UsageError(f"{what!r} is not exported", fix=f"one of: {', '.join(WHAT)}")
    if format_ not in stephistory.FORMATS:
        raise UsageError(f"no format {format_!r}", fix=f"one of: {', '.join(stephistory.FORMATS)}")
    if plot and what != "metrics":
        raise UsageError("--plot belongs to --what metrics", fix="leave it out")
    made = exporting.write(open_job(job), what, format_, out, plot)
    if json:
        emit({"files": [str(path) for path in made]})
        return
    for path in made:
        tell(str(path))


def package(
    job: Job,
    bin_: Annotated[
        bool, typer.Option("--bin", help="With adapter_model.bin, for old integrations.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Unpack it and make its golden answers again.")
    ] = False,
    base: Annotated[
        Path | None, typer.Option(help="--check: base model's folder. Default: the cache.")
    ] = None,
    json: Json = False,
) -> None:
    """Build a job's deployment package anew, or check that the packed one answers as measured.

    `--check` runs the zip's own inference.py in a process of its own: deployable only when every
    golden answer is the same and its model finds held-out answers as likely as was measured.
    Example: `brightrun package JOB --check`
    """
    from brightrun.context import open_job
    from flows.terminal import emit, facts
    from tasks import deploying

    known = open_job(job)
    found = deploying.rebuild(known, with_bin=bin_) if bin_ or not check else ""
    checked = deploying.check(known, base) if check else None
    if json:
        emit({"job_id": known.job_id, "package": found, "checked": checked})
        return
    shown = [("package", found)]
    if checked:
        shown.append(("the zip gave", deploying.shown(checked)))
    facts(f"Package of job {known.job_id}", shown)
