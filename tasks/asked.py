"""Examples that a client asked for by name, shown beside those of the rule and labelled so."""

from __future__ import annotations

from pathlib import Path

from brightrun.context import JobContext
from brightrun.errors import UsageError
from brightrun.verdicts import Evaluation, Example
from evals import own
from evals.highlights import marks
from evals.sources import load_lexicons

MOST = 20


def names_in(file: Path) -> list[str]:
    """One scenario id a line; `#` begins a remark. UsageError: unreadable, empty, too many."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}", fix="a text file, one id a line"
        ) from None
    found = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not 0 < len(found) <= MOST:
        raise UsageError(
            f"{file.name} names {len(found)} scenarios", fix=f"1 to {MOST}, one id a line"
        )
    return list(dict.fromkeys(found))


def with_asked(job: JobContext, evaluation: Evaluation, names: list[str]) -> Evaluation:
    """The evaluation with these scenarios' answers too; UsageError names what was not answered."""
    rows = job.folder.read_jsonl("measurements/answers.jsonl")
    texts = {(r["model"], r["scenario_id"]): r["text"] for r in rows if r["pass"] == 1}
    known = {s.scenario_id: s for s in own.of_folder(job.folder).scenarios}
    shown = {e.scenario_id for e in evaluation.examples}
    absent = [n for n in names if ("trained", n) not in texts or n not in known]
    if absent:
        answered = sorted({name for model, name in texts if model == "trained"})
        raise UsageError(
            f"job {job.job_id} has no answer to {', '.join(absent)}",
            fix=f"answered: {', '.join(answered[:30])}" + (" ..." if len(answered) > 30 else ""),
        )
    lexicons = load_lexicons()
    more = tuple(
        Example(
            scenario_id=name,
            arc=known[name].arc,
            persona=known[name].persona,
            client_message=known[name].client_message,
            baseline=texts["baseline", name],
            trained=texts["trained", name],
            why="asked",
            baseline_marks=marks(texts["baseline", name], lexicons),
            trained_marks=marks(texts["trained", name], lexicons),
        )
        for name in names
        if name not in shown
    )
    return evaluation.model_copy(update={"examples": (*evaluation.examples, *more)})
