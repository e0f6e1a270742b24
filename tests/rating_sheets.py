"""A job with answers to rate, and raters who fill their sheets by a rule."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from pathlib import Path

from brightrun.runfolder import RunFolder
from evals import ratings
from evals.rating import Item, load_rubric
from evals.rating_sheet import GUESS, columns, not_asked

RUBRIC = load_rubric()
Rule = Callable[[Item, str, str], int]


def answered(root: Path, scenario_ids: list[str]) -> RunFolder:
    """A run folder with one pass of both models' answers."""
    folder = RunFolder(root.as_uri(), "job-1")
    rows = [
        {"model": model, "scenario_id": name, "pass": 1, "text": f"{word} for {name} costs $40."}
        for name in scenario_ids
        for model, word in (("baseline", "Plan"), ("trained", "=Care"))
    ]
    folder.write_jsonl(ratings.ANSWERS, rows)
    return folder


def likes_trained(item: Item, column: str, side: str) -> int:
    """Three or two for the baseline, one more for the trained; steady over duplicates."""
    noise = random.Random(f"{item.scenario_id}/{column}/{item.model(side)}").randint(0, 1)
    return 2 + noise + (item.model(side) == "trained") * 2


def sheet_rows(items: tuple[Item, ...], rule: Rule = likes_trained) -> list[dict[str, str]]:
    """Every cell that is asked, filled."""
    found = []
    for item in items:
        row = {"item": item.item}
        for column in columns(RUBRIC):
            key, _, side = column.rpartition("_")
            if not_asked(item, column):
                row[column] = "-"
            elif column == "preferred":
                row[column] = "A" if item.a == "trained" else "B"
            elif column == GUESS:
                row[column] = "?"
            elif key == "facts":
                row[column] = "right"
            elif key in ("quote", "comment") or column == "comment":
                row[column] = ""
            else:
                row[column] = str(rule(item, key, side))
        found.append(row)
    return found


def as_file(rows: list[dict[str, str]], *, delimiter: str = ",", newline: str = "\n") -> bytes:
    out = io.StringIO()
    names = ["item", *columns(RUBRIC)]
    writer = csv.DictWriter(out, names, delimiter=delimiter, lineterminator=newline)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
