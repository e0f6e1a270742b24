"""The battlecard: our verdicts beside what others offer, as chart and table, every cell sourced.

rendered = make(card, data, folder)
"""

from __future__ import annotations

import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

from brightrun.errors import ReportError
from brightrun.frozen import Frozen
from brightrun.rivals import OLD_DAYS, Answer, Battlecard, Cell, Question
from brightrun.verdicts import ReportData, Table, Verdict
from reports import blocks, claims, engines, formats, judgements, onepager, render
from reports.canvas import Chart, figure, svg
from reports.paper import Paper, Stamp
from reports.render import Rendered
from reports.words import words

NAME = "battlecard"
RULE = (
    "Our measured answers are the verdicts of this job. Every other cell was typed by a person and "
    f"names its source and day below; one older than {OLD_DAYS} days says so. Unknown means that "
    "nobody looked, not that the answer is no."
)
UNKNOWN = "unknown"
# Form and fill tell the answers apart without colour.
FILLS = {Answer.yes: "full", Answer.partly: "left", Answer.no: "none"}
COLOUR = "#0B5CAD"


class CardData(Frozen):
    """What the card shows; its own report.json."""

    report: ReportData
    card: Battlecard
    made_at: datetime


def make(
    card: Battlecard, data: ReportData, out: Path, engine: engines.Engine | None = None
) -> Rendered:
    """Write report.json, battlecard.html and battlecard.pdf into `out`; ReportError: may not be."""
    started = time.perf_counter()
    onepager.sellable(data)
    whole = CardData(report=data, card=card, made_at=datetime.now(UTC))
    checked(whole)
    engine = engine or engines.find()
    document = paper_of(whole, render.fingerprint(whole))
    return render.write(document, whole, out, NAME, engine, started)


def checked(data: CardData) -> None:
    """ReportError when a cell was seen on a day that has not come."""
    today = data.made_at.date()
    for question in data.card.questions:
        for cell in (question.ours, *question.rivals.values()):
            if cell and cell.seen > today:
                raise ReportError(
                    f"{question.ask!r}: seen = {cell.seen} has not come yet",
                    fix="write the day on which somebody looked",
                )


def paper_of(data: CardData, mark: str) -> Paper:
    report, said = data.report, words(data.report.brand)
    listed = sources(data)
    drawn = chart(data)
    return Paper(
        template=NAME,
        title=f"{said['battlecard']}: {report.name or report.job_id}",
        stamp=Stamp(f"Job {report.job_id}", report.issue.report_id, mark),
        moment=data.made_at,
        values={
            "cover": blocks.cover(
                report.brand.house,
                said["battlecard"],
                [(said["job"], report.job_id), (said["date"], formats.date(data.made_at))],
                logo=blocks.logo(report.brand),
            ),
            "flags": judgements.flags(report.evaluation, said["first"]),
            "rule": RULE,
            "chart": blocks.figure(drawn),
            "answers": blocks.table(answers(data, listed)),
            "sources": blocks.table(
                Table(columns=("No.", "Source", "Seen"), rows=tuple(
                    (str(n), source, seen) for n, (source, seen) in enumerate(listed, 1)
                )),
                empty="No cell was filled by hand.",
            ),
        },
        charts={"battlecard": drawn},
        brand=report.brand,
        contents=False,
    )  # fmt: skip


def columns(data: CardData) -> tuple[str, ...]:
    return (data.report.brand.house, *data.card.rivals)


def cells(data: CardData, question: Question) -> tuple[Cell | None, ...]:
    """Ours first, then the rivals' in their order; None: unknown."""
    verdicts = data.report.evaluation.verdicts
    verdict = next((v for v in verdicts if v.metric is question.metric), None)
    ours = measured(data, verdict) if verdict else question.ours
    return (ours, *(question.rivals.get(name) for name in data.card.rivals))


def measured(data: CardData, verdict: Verdict) -> Cell:
    """A verdict as a cell. Its words are the report's own."""
    return Cell.model_construct(
        answer=answer_of(verdict),
        says=claims.sentence(verdict),
        source=f"Validation report of job {data.report.job_id}",
        seen=data.report.finished_at.date(),
    )


def answer_of(verdict: Verdict) -> Answer:
    """Yes: passed as planned. Partly: better for certain, and the target is not met or open."""
    if verdict.exploratory or verdict.target_met == "not_measured":
        return Answer.unknown
    if verdict.target_met == "pass":
        return Answer.yes
    if verdict.improved:
        return Answer.partly
    return Answer.no if verdict.target_met == "fail" else Answer.unknown


def sources(data: CardData) -> list[tuple[str, str]]:
    """(source, day) of all cells, each once, in the order in which they stand."""
    found = [c for q in data.card.questions for c in cells(data, q) if c]
    return list(dict.fromkeys((c.source, day(c, data)) for c in found))


def day(cell: Cell, data: CardData) -> str:
    old = f" (older than {OLD_DAYS} days: look again)" if cell.old(data.made_at.date()) else ""
    return f"{formats.date(datetime.combine(cell.seen, datetime.min.time(), UTC))}{old}"


def answers(data: CardData, listed: list[tuple[str, str]]) -> Table:
    def shown(cell: Cell | None) -> str:
        if cell is None:
            return UNKNOWN
        number = listed.index((cell.source, day(cell, data))) + 1
        return f"{cell.answer.value.capitalize()}: {cell.says} [{number}]"

    rows = tuple((q.ask, *map(shown, cells(data, q))) for q in data.card.questions)
    return Table(columns=("Question", *columns(data)), rows=rows)


def chart(data: CardData) -> Chart:
    """A row a question, a column a product: full, half, empty circle, or a question mark."""
    questions, names = data.card.questions, columns(data)
    said = []
    with figure(7.4, 0.7 + 0.42 * len(questions)) as (drawn, axes):
        for y, question in enumerate(questions):
            found = [cell.answer if cell else Answer.unknown for cell in cells(data, question)]
            for x, answer in enumerate(found):
                if answer in FILLS:
                    axes.plot([x], [y], marker="o", markersize=13, color=COLOUR, linestyle="",
                              fillstyle=FILLS[answer], markerfacecoloralt="white")  # fmt: skip
                else:
                    axes.text(x, y, "?", ha="center", va="center", fontsize=13)
            parts = zip(names, found, strict=True)
            said.append(f"{question.ask} {', '.join(f'{n}: {a}' for n, a in parts)}")
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(questions) - 0.5, -0.5)
        axes.set_xticks(range(len(names)), [formats.plotted(n, 24) for n in names])
        axes.set_yticks(range(len(questions)), [wrapped(q.ask) for q in questions])
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        picture = svg(drawn)
    caption = "Full circle: yes. Half: partly. Empty: no. Question mark: unknown."
    return Chart("battlecard", picture, " ".join(said), caption)


def wrapped(text: str) -> str:
    """In two lines at most."""
    lines = textwrap.wrap(text, 38, max_lines=2, placeholder=" …")
    return "\n".join(formats.plotted(line, 38) for line in lines)
