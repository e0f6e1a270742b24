"""Blind rating sheets: what people fill in, and the key that says which answer was whose.

One row per scenario; the two answers stand as A and B, each model A in exactly half of the rows
(one more when the number is odd), in an order drawn from the seed and the rater.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.sources import DATA, Scenario

MODELS = ("baseline", "trained")
# A cell that begins like this would run as a formula when a spreadsheet opens the sheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One rater's CSV text and its key: item id -> {scenario_id, A, B}."""

    rater: int
    csv: str
    key: dict[str, dict[str, str]]


def dimensions(data: Path = DATA) -> list[dict[str, Any]]:
    """The human rubric's dimensions: key, name, question, anchors 1/3/5."""
    found: list[dict[str, Any]] = json.loads((data / "rubric.json").read_text())["dimensions"]
    return found


def sheet(
    rater: int,
    scenarios: Sequence[Scenario],
    answers: dict[tuple[str, str], str],
    seed: int,
    rubric: Sequence[dict[str, Any]],
) -> Sheet:
    """answers: (model, scenario_id) -> text. Same arguments, same bytes."""
    draw = random.Random(f"{seed}/{rater}")  # noqa: S311 - an order, not a secret
    order = list(scenarios)
    draw.shuffle(order)
    first = [MODELS[i % 2] for i in range(len(order))]
    draw.shuffle(first)
    marks = [f"{d['key']}_{side}" for d in rubric for side in ("A", "B")]
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        ["item", "client_message", "answer_A", "answer_B", *marks, "preferred", "comment"]
    )
    key = {}
    for number, (scenario, a) in enumerate(zip(order, first, strict=True), start=1):
        b = MODELS[1 - MODELS.index(a)]
        item = f"R{rater}-{number:03d}"
        key[item] = {"scenario_id": scenario.scenario_id, "A": a, "B": b}
        texts = [answers[a, scenario.scenario_id], answers[b, scenario.scenario_id]]
        cells = [harmless(t) for t in (scenario.client_message, *texts)]
        rows.writerow([item, *cells, *([""] * (len(marks) + 2))])
    return Sheet(rater, out.getvalue(), key)


def harmless(text: str) -> str:
    """Spreadsheets must show a model's words, never calculate them."""
    return f"'{text}" if text.startswith(FORMULA) else text


def guide(rubric: Sequence[dict[str, Any]]) -> str:
    """What a rater reads first. Names no model."""
    lines = [
        "How to rate",
        "",
        "Each row shows a client's message and two answers, A and B. Give both a whole number from",
        "1 to 5 in every dimension; 1, 3 and 5 are described below, 2 and 4 lie between. Then say",
        "which answer you prefer (A, B or tie). Do not talk to the other raters before you finish.",
    ]
    for d in rubric:
        lines += ["", f"{d['name']}: {d['question']}"]
        lines += [f"  {mark}: {d['anchors'][mark]}" for mark in ("1", "3", "5")]
    return "\n".join(lines) + "\n"
