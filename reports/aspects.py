"""What the examples can show of empathy, clarity, financial accuracy and voice; who judged it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from brightrun.verdicts import (
    Evaluation,
    EvidenceKind,
    Example,
    Mark,
    MarkKind,
    MetricName,
    Table,
    Verdict,
)
from reports import claims, formats

NUMBER = r"\d{1,12}(?:,\d{3}){0,5}(?:\.\d{1,6})?"
FIGURE = re.compile(rf"\$\s?{NUMBER}|\b{NUMBER}(?:\s?%|\spercent\b)")
NOBODY = "nobody has judged it"
UNCHECKED = "nobody has judged it: have every figure checked by a person"
CAPTION = (
    "Answers with at least one such place, of the examples below. A program finds the places; "
    "whether they are good or right only people or a judge can say."
)


def figures(text: str) -> tuple[Mark, ...]:
    """Amounts and percentages of an answer: what a person has to check."""
    found = FIGURE.finditer(text)
    return tuple(Mark(start=hit.start(), end=hit.end(), kind="figure") for hit in found)


def pointed_out(text: str, marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """The evaluation's marks of an answer, and its figures."""
    return (*marks, *figures(text))


def table(evaluation: Evaluation) -> Table:
    """One row an aspect: what is pointed out, in how many answers of each model, who judged."""
    shown, by = evaluation.examples, {v.metric: v for v in evaluation.verdicts}
    ei, voice = (by.get(m) for m in (MetricName.emotional_intelligence, MetricName.brand_voice))
    rows = (
        ("Empathy", "emotion named or feeling accepted", *marked(shown, "emotion"), judged(ei)),
        ("Clarity", "jargon without an explanation", *marked(shown, "jargon"), judged(ei)),
        ("Clarity", "concrete step", *marked(shown, "step"), judged(ei)),
        ("Financial accuracy", "amount or percentage", *marked(shown, "figure"),
         accuracy(evaluation)),
        ("Voice", "the voice index beside each example", formats.NONE, formats.NONE,
         judged(voice)),
    )  # fmt: skip
    columns = ("Aspect", "Pointed out", "Baseline", "Trained", "Judged")
    return Table(columns=columns, rows=rows if shown else (), caption=CAPTION)


def marked(shown: Sequence[Example], kind: MarkKind) -> tuple[str, str]:
    before = [pointed_out(e.baseline, e.baseline_marks) for e in shown]
    after = [pointed_out(e.trained, e.trained_marks) for e in shown]
    found = [sum(any(m.kind == kind for m in marks) for marks in side) for side in (before, after)]
    return f"{found[0]} of {len(shown)}", f"{found[1]} of {len(shown)}"


def judged(verdict: Verdict | None) -> str:
    """Who judged; what a program counts is no judgement."""
    counted_only = verdict is not None and verdict.evidence is EvidenceKind.marker
    if verdict is None or counted_only or not claims.measured(verdict):
        return NOBODY
    return claims.evidence(verdict)


def accuracy(evaluation: Evaluation) -> str:
    """What raters said of the financial content of all trained answers; else that nobody did."""
    counts = _of(_of(evaluation.facts, "judged"), "correctness")
    trained = _of(counts, "trained")
    if not trained or not all(isinstance(n, int) for n in trained.values()):
        return UNCHECKED
    said = ", ".join(f"{name} {n}" for name, n in trained.items())
    return f"rated by people, all trained answers: {said}"


def _of(facts: Any, name: str) -> dict[str, Any]:
    found = facts.get(name) if isinstance(facts, dict) else None
    return found if isinstance(found, dict) else {}


def rulings(example: Example, wrong: Table) -> tuple[str, ...]:
    """What raters said of this example's financial content: `trained: wrong (rater 1: "...")`."""
    found = []
    for row in wrong.rows:
        cells = dict(zip(wrong.columns, map(str, row), strict=False))
        if cells.get("scenario_id") == example.scenario_id:
            quote = formats.clip(cells.get("quote", ""), 200)
            about = f"{cells.get('judge', '')}: “{quote}”" if quote else cells.get("judge", "")
            found.append(f"{cells.get('model', '')}: {cells.get('ruling', '')} ({about})")
    return tuple(found)
