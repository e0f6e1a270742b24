"""Commands for human raters: blind sheets out, filled sheets in, verdicts and report made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.counting import count
from brightrun.errors import EvaluationError
from flows.cli_judge import judge
from flows.options import Job, Json

if TYPE_CHECKING:
    from brightrun.context import JobContext
    from evals.rating import Rubric
    from evals.rating_file import Problem
    from evals.rating_filled import Filled

rate = typer.Typer(no_args_is_help=True)
SHOWN = 40


@rate.callback()
def about() -> None:
    """Rating sheets for people, and language models as judges."""


@rate.command("export")
def export(
    job: Job,
    raters: Annotated[int, typer.Option(min=1, max=20, help="One sheet each, 3-5 advised.")] = 3,
    json: Json = False,
) -> None:
    """Write blind rating sheets of both models' answers: an HTML page and a CSV twin per rater.

    Give each rater one of the two and how-to-rate.txt. The key stays in the job's run folder.
    More raters later: export again with a higher number; sheets that are out do not change.
    """
    from brightrun.context import open_job
    from evals import own, rating_sheet, ratings
    from evals.rating import load_rubric
    from flows.terminal import emit, say

    known = open_job(job)
    drawn = ratings.draw(known.folder, known.spec.values.seed, raters)
    texts, rubric = ratings.shown(known.folder), load_rubric()
    messages = {s.scenario_id: s.client_message for s in own.of_folder(known.folder).scenarios}
    place = _place(known)
    place.mkdir(parents=True, exist_ok=True)
    names = []
    for rater in range(1, drawn.raters + 1):
        items = drawn.of(rater)
        page = rating_sheet.as_html(items, rubric, messages, texts, rater=rater)
        twin = rating_sheet.as_csv(items, rubric, messages, texts)
        (place / f"rater-{rater}.html").write_text(page, encoding="utf-8")
        (place / f"rater-{rater}.csv").write_text(twin, encoding="utf-8-sig", newline="")
        names += [f"rater-{rater}.html", f"rater-{rater}.csv"]
    (place / "how-to-rate.txt").write_text(rating_sheet.guide(rubric), encoding="utf-8")
    if json:
        emit(
            {
                "folder": str(place), "sheets": names, "raters": drawn.raters,
                "items": len(drawn.of(1)), "set": drawn.sheets, "key_sha256": drawn.sha256,
            }
        )  # fmt: skip
    say(
        f"{count(drawn.raters, 'sheet')} of {count(len(drawn.of(1)), 'item')} in {place} "
        f"(set {drawn.sheets}; key in the run folder, sha256 {drawn.sha256[:12]})"
    )
    say(f"When they come back: brightrun rate import {known.job_id} FILES...")


@rate.command("import")
def take(
    job: Job,
    files: Annotated[list[Path], typer.Argument(help="Filled CSV files, one per rater")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take another sheet of a rater who has one already.")
    ] = False,
    json: Json = False,
) -> None:
    """Check filled sheets and, when all hold, make verdicts and the report's next version."""
    from brightrun.context import open_job
    from evals import ratings
    from evals.rating import load_rubric
    from flows.reassessing import assessed_sheets, reassess
    from flows.terminal import emit, say
    from reports import claims

    known = open_job(job)
    rubric = load_rubric()
    content = [(file.name, _content(file)) for file in files]
    done = ratings.take(known.folder, content, rubric, replace=replace)
    if done.problems:
        _complain(done.problems, json)
        raise typer.Exit(1)
    for filled in done.sheets:
        for note in (*filled.notes, *_left_out(filled)):
            say(f"Rater {filled.rater}: {note}")
    # Compared with the evaluation, not with this call: an import that was cut off goes on.
    if assessed_sheets(known) == ratings.hashes(known.folder):
        say("These sheets were taken before: nothing is new, the report stays as it is.")
        if json:
            emit({"taken": [], "report": known.ledger.job(known.job_id).report_html})
        return
    made = reassess(known, by="rate import")
    if json:
        emit(
            {
                "taken": list(done.new), "version": made.report.version, "report": str(made.html),
                "missing": {f.rater: list(f.missing) for f in done.sheets},
                "verdicts": [v.model_dump(mode="json") for v in made.evaluation.verdicts],
                "flags": list(made.evaluation.flags),
            }
        )  # fmt: skip
    for flag in made.evaluation.flags:
        say(flag, style="bold red")
    say(f"{claims.ei_claim(made.evaluation.verdicts)}.")
    say(f"Report {made.report.report_id}: {made.html}")


@rate.command("status")
def status(job: Job, json: Json = False) -> None:
    """Which sheets are out, which came back, and what they lack."""
    from brightrun.context import open_job
    from evals import ratings
    from evals.rating import load_rubric
    from flows.terminal import emit, say, table

    known = open_job(job)
    drawn = ratings.load(known.folder)
    if drawn is None:
        if json:
            emit({"exported": False, "raters": []})
        say(f"No sheets yet: brightrun rate export {known.job_id} --raters 3")
        return
    rows = _status(known, load_rubric())
    if json:
        emit(
            {
                "exported": True, "set": drawn.sheets, "key_sha256": drawn.sha256,
                "raters": rows,
            }
        )  # fmt: skip
        return
    table(
        f"Raters of {known.job_id}, set {drawn.sheets}",
        ("Rater", "Sheet", "Items", "Complete", "Lacks"),
        [(r["rater"], r["file"] or "not back yet", r["items"], r["complete"],
          "; ".join(r["missing"][:3])) for r in rows],
    )  # fmt: skip


rate.command("judge")(judge)


def _status(job: JobContext, rubric: Rubric) -> list[dict[str, Any]]:
    from evals import ratings

    drawn, back = ratings.load(job.folder), ratings.taken(job.folder, rubric)
    rows: list[dict[str, Any]] = []
    for rater in range(1, (drawn.raters if drawn else 0) + 1):
        sheet = back.get(rater)
        lacks = list(sheet.filled.missing) if sheet else []
        items = len(drawn.of(rater)) if drawn else 0
        rows.append(
            {
                "rater": rater,
                "file": sheet.name if sheet else "",
                "items": items,
                "complete": items - len(lacks) if sheet else 0,
                "missing": lacks,
            }
        )
    return rows


def _place(job: JobContext) -> Path:
    return job.settings.home.resolve() / "ratings" / job.job_id


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise EvaluationError(
            f"{file} cannot be read: {error.strerror or error}", fix="check the path"
        ) from None


def _left_out(filled: Filled) -> list[str]:
    lacks = filled.missing
    if not lacks:
        return []
    more = f" and {count(len(lacks) - 5, 'more item')}" if len(lacks) > 5 else ""
    return [f"{count(len(lacks), 'item')} not complete: {'; '.join(lacks[:5])}{more}"]


def _complain(problems: tuple[Problem, ...], as_json: bool) -> None:
    """All problems, each with its place and mend."""
    from dataclasses import asdict

    from flows.terminal import emit, say

    say(f"{count(len(problems), 'problem')}: no sheet was taken.", style="bold red")
    for problem in problems[:SHOWN]:
        say(f"  {problem}")
    if len(problems) > SHOWN:
        say(f"  and {len(problems) - SHOWN} more; all of them with --json")
    if as_json:
        emit({"problems": [asdict(problem) for problem in problems]})
