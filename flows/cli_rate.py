"""Commands for human raters. First version: blind sheets out; taking them in comes later."""

from __future__ import annotations

import hashlib
import json as jsonlib
from typing import Annotated

import typer

from brightrun.counting import count
from brightrun.errors import EvaluationError
from flows.options import Job, Json

rate = typer.Typer(no_args_is_help=True)


@rate.callback()
def about() -> None:
    """Rating sheets for people."""


@rate.command("export")
def export(
    job: Job,
    raters: Annotated[int, typer.Option(min=1, max=20, help="One sheet each, 3-5 advised.")] = 3,
    json: Json = False,
) -> None:
    """Write blind rating sheets (CSV) of both models' answers, and the key in a file apart.

    Give each rater one sheet and how-to-rate.txt; keep key.json to yourself.
    """
    from brightrun.context import open_job
    from evals import rating
    from evals.sources import load_scenarios
    from flows.terminal import emit, say

    known = open_job(job)
    rows = known.folder.read_jsonl("measurements/answers.jsonl")
    answers = {(r["model"], r["scenario_id"]): r["text"] for r in rows if r["pass"] == 1}
    asked = [s for s in load_scenarios() if ("trained", s.scenario_id) in answers]
    if not asked:
        raise EvaluationError(
            f"job {known.job_id} has no answers to rate", fix="let it finish its measuring first"
        )
    place = known.settings.home.resolve() / "ratings" / known.job_id
    place.mkdir(parents=True, exist_ok=True)
    rubric, seed = rating.dimensions(), known.spec.values.seed
    sheets = [rating.sheet(n, asked, answers, seed, rubric) for n in range(1, raters + 1)]
    for sheet in sheets:
        (place / f"rater-{sheet.rater}.csv").write_text(sheet.csv, encoding="utf-8-sig")
    key = jsonlib.dumps({k: v for sheet in sheets for k, v in sheet.key.items()}, indent=1)
    (place / "key.json").write_text(key + "\n")
    (place / "how-to-rate.txt").write_text(rating.guide(rubric), encoding="utf-8")
    digest = hashlib.sha256((key + "\n").encode()).hexdigest()
    names = [f"rater-{s.rater}.csv" for s in sheets]
    if json:
        emit({"folder": str(place), "sheets": names, "items": len(asked), "key_sha256": digest})
    made = f"{count(len(names), 'sheet')} of {count(len(asked), 'item')}"
    say(f"{made} in {place}; key.json (sha256 {digest[:12]})")
    say("This version does not read filled sheets back yet.")
