"""The comparison's document: ComparisonData -> Paper -> HTML and PDF.

rendered = render(data, folder)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from brightrun.counting import count
from brightrun.verdicts import Table
from reports import blocks, engines, formats, render, runs
from reports.canvas import Chart, figure, svg
from reports.escape import Markdown
from reports.paper import Paper, Stamp
from reports.render import Rendered
from reports.runs import ComparisonData, Row, Run
from reports.words import words

NAME = "comparison"
# Okabe and Ito's colours; line and mark differ too, so they stay apart in black and white.
STYLES = (("#0072B2", "-", "o"), ("#C05000", "--", "s"), ("#00795A", "-.", "^"),
          ("#8A4F7D", ":", "D"))  # fmt: skip
BEST = " ★ best"


def make(data: ComparisonData, out: Path, engine: engines.Engine | None = None) -> Rendered:
    """Write report.json, comparison.html and comparison.pdf into `out`."""
    started = time.perf_counter()
    engine = engine or engines.find()
    mark = render.fingerprint(data)
    return render.write(paper_of(data, engine.name, mark), data, out, NAME, engine, started)


def paper_of(data: ComparisonData, engine: str, mark: str) -> Paper:
    drawn = {"losses": losses(data.runs)}
    said = words(data.brand)
    title = f"{said['comparison']}: {' and '.join(run.job_id for run in data.runs)}"
    return Paper(
        template=NAME,
        title=title,
        stamp=Stamp(count(len(data.runs), "job"), data.issue.report_id, mark),
        moment=data.made_at,
        values={
            "cover": cover(data, said),
            "warning": warning(data.runs),
            "rule": RULE,
            "results": blocks.table(results(data.runs)),
            "losses": blocks.figure(drawn["losses"], "No step was recorded."),
            "differences": blocks.table(differences(data.runs), empty="Every setting is the same."),
            "notes": notes(data.runs),
            "provenance": blocks.pairs(
                [("Report", data.issue.report_id), ("Report sha256", mark), ("Engine", engine)],
                code=True,
            ),
        },
        charts=drawn,
        brand=data.brand,
        warning="Test: numbers mean nothing" if any(r.meaningless for r in data.runs) else "",
        contents=False,
    )


RULE = (
    "A row has a best run only where the difference is more than noise. For what was measured the "
    "95% interval of the best must lie wholly beyond every other one's, with the same base model, "
    "the same test items and the same kind of evidence. For cost and duration every run must have "
    f"been evaluated, and the best must be more than {runs.NOISE:.0%} below the next. Everything "
    "else has no winner, nor has a test whose numbers mean nothing."
)


def cover(data: ComparisonData, said: Mapping[str, str]) -> Markdown:
    lines = [
        (letter, f"{run.job_id}: {formats.clip(run.name or '–', 60)}")
        for letter, run in zip(runs.letters(data.runs), data.runs, strict=True)
    ]
    client = data.brand.client or ", ".join(sorted({r.client for r in data.runs if r.client}))
    title = f"{count(len(data.runs), 'run')} side by side"
    more = [(said["client"], formats.clip(client, 80)), (said["date"], formats.date(data.made_at))]
    return blocks.cover(
        f"{data.brand.house} · {said['comparison']}", title, [*lines, *(m for m in more if m[1])],
        logo=blocks.logo(data.brand),
    )  # fmt: skip


def warning(found: Sequence[Run]) -> Markdown:
    bad = [f"{run.job_id} ({run.meaningless.lower()})" for run in found if run.meaningless]
    if not bad:
        return Markdown("")
    return blocks.banner("bad", "The numbers of a test mean nothing.", f"{', '.join(bad)}.")


def rows_of(found: Sequence[Run]) -> list[Row]:
    """Every line of the table of results."""
    same_items = len({run.validation_sha256 for run in found}) == 1
    same_data = len({run.config.get("training file sha256") for run in found}) == 1
    unranked = None if all(run.evaluation for run in found) else "not every run was evaluated"
    if any(run.meaningless for run in found):
        unranked = runs.TEST
    return [
        *runs.metric_rows(found),
        runs.measured_row(
            "Validation loss at the end",
            [runs.last_losses(r, "validation_loss") for r in found],
            lambda v: formats.number(v, 3),
            "" if same_items else "different held-out conversations",
        ),
        runs.measured_row(
            "Training loss at the end",
            [runs.last_losses(r, "loss") for r in found],
            lambda v: formats.number(v, 3),
            "" if same_data else "different training files",
        ),
        runs.measured_row("Cost", [r.cost_usd for r in found], formats.usd, unranked),
        runs.measured_row(
            "Compute time", [r.hours * 3600 for r in found], formats.duration, unranked
        ),
        runs.measured_row(
            "Interruptions", [float(r.interruptions) for r in found],
            lambda v: formats.number(int(v)), "",
        ),
    ]  # fmt: skip


def results(found: Sequence[Run]) -> Table:
    rows = tuple(
        (
            row.name,
            *(cell + (BEST if i == row.best else "") for i, cell in enumerate(row.cells)),
            row.why,
        )
        for row in rows_of(found)
    )
    return Table(columns=("What", *runs.letters(found), "Best, and why"), rows=rows)


def differences(found: Sequence[Run]) -> Table:
    changed, same = runs.differing(found)
    rows = tuple(
        (key.replace("_", " "), *(runs.plain(v) for v in values)) for key, values in changed
    )
    verb = "differs" if len(changed) == 1 else "differ"
    caption = f"{count(len(changed), 'setting')} {verb}; {same} more are the same."
    return Table(columns=("Setting", *runs.letters(found)), rows=rows, caption=caption)


def notes(found: Sequence[Run]) -> Markdown:
    shown = [
        (f"{letter}: {run.job_id}", run.notes or "none")
        for letter, run in zip(runs.letters(found), found, strict=True)
    ]
    return blocks.pairs(shown)


def losses(found: Sequence[Run]) -> Chart | None:
    """Training loss of every run over its share of the training, validation losses as marks."""
    if not any(run.curve for run in found):
        return None
    said = []
    with figure(7.4, 3.6) as (drawn, axis):
        for letter, run, (colour, line, mark) in zip(
            runs.letters(found), found, STYLES, strict=False
        ):
            if not run.curve:
                continue
            epochs, values = [p.epoch for p in run.curve], [p.loss for p in run.curve]
            axis.plot(epochs, values, color=colour, linestyle=line, linewidth=1.6,
                      label=f"{letter}: {run.job_id}")  # fmt: skip
            held = [
                (p.epoch, p.validation_loss) for p in run.curve if p.validation_loss is not None
            ]
            if held:
                axis.plot(*zip(*held, strict=True), color=colour, linestyle="none", marker=mark,
                          markersize=6, markeredgecolor="white",
                          label=f"{letter}: validation")  # fmt: skip
            said.append(
                f"{letter} from {formats.number(values[0], 2)} to {formats.number(values[-1], 2)}"
            )
        axis.set_xlabel("Epoch")
        axis.set_ylabel("Loss (nats per token)")
        axis.legend(loc="upper right", ncols=2)
        text = svg(drawn)
    alt = f"Training loss of {count(len(said), 'run')} by epoch: {'; '.join(said)}."
    caption = "Training loss (lines) and validation loss (marks) by epoch."
    return Chart("losses", text, alt, caption)
