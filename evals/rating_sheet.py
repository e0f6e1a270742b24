"""One rater's sheet as a file: an HTML page that works offline, and a CSV twin for a spreadsheet.

Both say the same and lead to the same CSV. Neither holds a model's name, a scenario's id or the
seed; an item's id tells nothing but the set of sheets, the rater and the row.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brightrun.spreadsheets import harmless
from evals.rating import Item, Rubric

PAGE = Path(__file__).with_name("rating_sheet.html")
SIDES = ("A", "B")
FACTS = ("right", "questionable", "wrong")
NOT_APPLICABLE = "n/a"
NOT_ASKED = "-"
GUESS = "which_is_after_training"


def columns(rubric: Rubric) -> tuple[str, ...]:
    """The columns a rater fills, in order."""
    scored = (*rubric.dimension_keys, *rubric.voice_keys, "facts", "quote")
    return (*(f"{key}_{side}" for key in scored for side in SIDES), "preferred", "comment", GUESS)


def as_csv(
    items: Sequence[Item],
    rubric: Rubric,
    messages: Mapping[str, str],
    answers: Mapping[tuple[str, str], str],
) -> str:
    """The CSV twin. messages: scenario id -> text; answers: (model, scenario id) -> masked text."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\r\n")
    fill = columns(rubric)
    rows.writerow(["item", "client_message", "answer_A", "answer_B", *fill])
    for item in items:
        texts = [messages[item.scenario_id], *(_answer(item, side, answers) for side in SIDES)]
        empty = [NOT_ASKED if not_asked(item, name) else "" for name in fill]
        rows.writerow([item.item, *map(harmless, texts), *empty])
    return out.getvalue()


def not_asked(item: Item, column: str) -> bool:
    """Voice is asked for a part of the items, the guess for a few; duplicates ask for neither."""
    return (column.startswith("voice_") and not item.voice) or (column == GUESS and not item.guess)


def _answer(item: Item, side: str, answers: Mapping[tuple[str, str], str]) -> str:
    return answers[item.model(side), item.scenario_id]


def as_html(
    items: Sequence[Item],
    rubric: Rubric,
    messages: Mapping[str, str],
    answers: Mapping[tuple[str, str], str],
    *,
    rater: int,
) -> str:
    """The page. It asks for nothing from the network."""
    data: dict[str, Any] = {
        "sheet": items[0].item.rpartition("-")[0],
        "rater": rater,
        "dimensions": rubric.dimensions,
        "voice": [{**c, "key": f"voice_{c['key']}"} for c in rubric.voice],
        "columns": columns(rubric),
        "guess": GUESS,
        "items": [
            {
                "item": item.item,
                "message": messages[item.scenario_id],
                "A": _answer(item, "A", answers),
                "B": _answer(item, "B", answers),
                "voice": item.voice,
                "guess": item.guess,
            }
            for item in items
        ],
    }
    # Inside a script element only `<` can end it.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return (
        PAGE.read_text(encoding="utf-8").replace("{{RATER}}", str(rater)).replace("{{DATA}}", text)
    )


def guide(rubric: Rubric) -> str:
    """What a rater reads first. Names no model."""
    lines = [
        "How to rate",
        "",
        "Open your .html sheet in a browser: it works offline, keeps what you did, and saves a CSV",
        "that you send back. Or fill the .csv in a spreadsheet; both are the same.",
        "",
        "Each item shows a client's message and two answers, A and B. Give both a whole number",
        "from 1 to 5 in every dimension; 1, 3 and 5 are described below, 2 and 4 lie between. Some",
        f"items ask about ten traits of voice too: write {NOT_APPLICABLE} where one cannot apply.",
        "Say whether the financial content is right, questionable or wrong, and copy the words",
        "that are not right into `quote`. Then say which answer you prefer: A or B, also when it",
        "is close.",
        f"Cells with {NOT_ASKED} are not asked. Fill {GUESS} (A, B or ?) last of all.",
        "Some messages speak of suicide or of violence at home. Stop when you need to.",
        "Do not talk to the other raters before you finish.",
    ]
    for d in (*rubric.dimensions, *rubric.voice):
        lines += ["", f"{d['name']}: {d['question']}" if d["question"] else str(d["name"])]
        lines += [f"  {mark}: {d['anchors'][mark]}" for mark in ("1", "3", "5")]
    return "\n".join(lines) + "\n"
