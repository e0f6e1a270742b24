"""Read a filled rating sheet: strict about every cell, and all problems at once, each located.

A spreadsheet may have put a byte order mark, CRLF, semicolons or `4,0` for 4 into the file: those
mean what they say and are read. Anything else that is no answer to the question is a problem.
A blank cell is missing, not wrong: it is counted and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from evals.rating import ITEM_ID, Item, Rubric, rater_of
from evals.rating_file import Problem, rows_of
from evals.rating_sheet import FACTS, GUESS, NOT_APPLICABLE, SIDES, columns, not_asked
from evals.scores import HIGHEST, LOWEST

WHOLE = re.compile(r"([0-9]+)(?:[.,]0+)?")
BLANK_VOICE = (NOT_APPLICABLE, "na", "n.a.")
FEWEST_FOR_SPREAD = 10


@dataclass(slots=True)
class Row:
    """What one rater said about one item. scores: column key without side -> (A, B)."""

    item: Item
    scores: dict[str, dict[str, int]] = field(default_factory=dict)
    facts: dict[str, tuple[str, str]] = field(default_factory=dict)
    preferred: str = ""
    guess: str = ""
    comment: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filled:
    """One rater's sheet. notes: what was read although a spreadsheet had changed it."""

    rater: int
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """`item: columns` of every row that is not complete."""
        return tuple(f"{r.item.item}: {_listed(r.missing)}" for r in self.rows if r.missing)


def read(
    name: str,
    content: bytes,
    key: Mapping[str, Item],
    rubric: Rubric,
    answers: Mapping[tuple[str, str], str],
) -> Filled:
    """key: item id -> Item, of all raters of the set; answers: (model, scenario id) -> text."""
    return _Reader(name, key, rubric, answers).read(content)


class _Reader:
    """One file being read; collects problems instead of stopping at the first."""

    def __init__(
        self,
        name: str,
        key: Mapping[str, Item],
        rubric: Rubric,
        answers: Mapping[tuple[str, str], str],
    ) -> None:
        self.name, self.key, self.rubric, self.answers = name, key, rubric, answers
        self.problems: list[Problem] = []
        self.decimals = 0

    def problem(self, row: int | None, column: str, message: str, fix: str) -> None:
        self.problems.append(Problem(self.name, row, column, message, fix))

    def read(self, content: bytes) -> Filled:
        table, unfit = rows_of(self.name, content, columns(self.rubric))
        self.problems += unfit
        rows: dict[str, Row] = {}
        raters: set[int] = set()
        for number, cells in table:
            item = self.item(number, cells.get("item", ""))
            if item is None:
                continue
            if item.item in rows:
                self.problem(number, "item", f"{item.item} stands twice", "remove one of the rows")
                continue
            raters.add(rater_of(item.item))
            rows[item.item] = self.row(number, item, cells)
        if len(raters) > 1:
            listed = ", ".join(map(str, sorted(raters)))
            self.problem(None, "item", f"rows of raters {listed} in one file", "one file per rater")
        rater = min(raters, default=0)
        self.absent(rater, rows)
        self.spread(rows.values())
        notes = [f"{self.decimals} scores were written like 4,0 and read as 4"]
        return Filled(
            rater,
            tuple(rows[name] for name in sorted(rows)),
            tuple(self.problems),
            tuple(notes if self.decimals else ()),
        )

    def item(self, number: int, text: str) -> Item | None:
        if text in self.key:
            return self.key[text]
        shape = ITEM_ID.fullmatch(text)
        sheets = next(iter(self.key)).partition("-")[0] if self.key else ""
        if shape and shape[1] != sheets:
            message = f"{text} belongs to another set of sheets than {sheets}"
            fix = "import the sheets of this job's own export"
        elif shape:
            message = f"{text} is no item of this export"
            fix = f"export with --raters {shape[2]} or more first, or send the right sheet"
        else:
            message, fix = f"{text!r} is no item id", "restore the id from the sheet as exported"
        self.problem(number, "item", message, fix)
        return None

    def row(self, number: int, item: Item, cells: Mapping[str, str]) -> Row:
        row, missing = Row(item), []
        for key in (*self.rubric.dimension_keys, *self.rubric.voice_keys):
            for side in SIDES:
                column = f"{key}_{side}"
                text = cells.get(column, "")
                if not_asked(item, column):
                    self.not_asked(number, column, text)
                elif not text:
                    missing.append(column)
                elif key.startswith("voice_") and text.lower() in BLANK_VOICE:
                    continue
                elif (value := self.score(number, column, text)) is not None:
                    row.scores.setdefault(key, {})[side] = value
        for side in SIDES:
            self.fact(number, row, side, cells, missing)
        row.preferred = self.one_of(number, "preferred", cells.get("preferred", ""), SIDES, missing)
        if not_asked(item, GUESS):
            self.not_asked(number, GUESS, cells.get(GUESS, ""))
        else:
            row.guess = self.one_of(number, GUESS, cells.get(GUESS, ""), ("A", "B", "?"), missing)
        row.comment = _unquoted(cells.get("comment", ""))
        row.missing = tuple(missing)
        return row

    def score(self, number: int, column: str, text: str) -> int | None:
        shape = WHOLE.fullmatch(text)
        value = int(shape[1]) if shape else 0
        if not shape or not LOWEST <= value <= HIGHEST:
            also = f", or {NOT_APPLICABLE}" if column.startswith("voice_") else ""
            self.problem(
                number, column, f"{text[:40]!r} is no score",
                f"write a whole number from {LOWEST} to {HIGHEST}{also}",
            )  # fmt: skip
            return None
        self.decimals += text != shape[1]
        return value

    def not_asked(self, number: int, column: str, text: str) -> None:
        if text not in ("", "-", "'-"):
            self.problem(number, column, f"{text[:40]!r} where nothing was asked", "put the - back")

    def one_of(
        self, number: int, column: str, text: str, allowed: Sequence[str], missing: list[str]
    ) -> str:
        if not text:
            missing.append(column)
            return ""
        for word in allowed:
            if text.lower() == word.lower():
                return word
        self.problem(number, column, f"{text[:40]!r} is no answer", f"write {_or(allowed)}")
        return ""

    def fact(
        self, number: int, row: Row, side: str, cells: Mapping[str, str], missing: list[str]
    ) -> None:
        column = f"facts_{side}"
        found = self.one_of(number, column, cells.get(column, ""), FACTS, missing)
        quote = _unquoted(cells.get(f"quote_{side}", ""))
        if not found:
            return
        text = self.answers[row.item.model(side), row.item.scenario_id]
        if found != "right" and not quote:
            self.problem(
                number, f"quote_{side}", f"{found}, but no quote",
                "copy the words that are not right from the answer",
            )  # fmt: skip
            return
        if quote and _plain(quote) not in _plain(text):
            self.problem(
                number, f"quote_{side}", f"{quote[:40]!r} does not stand in answer {side}",
                "copy the words as they stand in the answer",
            )  # fmt: skip
            return
        row.facts[side] = (found, quote)

    def absent(self, rater: int, rows: dict[str, Row]) -> None:
        """Items that the file does not hold at all count as missing."""
        for name, item in self.key.items():
            if rater_of(name) == rater and name not in rows:
                rows[name] = Row(item, missing=("the whole row",))

    def spread(self, rows: Iterable[Row]) -> None:
        values = [
            value
            for row in rows
            for key in self.rubric.dimension_keys
            for value in row.scores.get(key, {}).values()
        ]
        if len(values) >= FEWEST_FOR_SPREAD and len(set(values)) == 1:
            self.problem(
                None, "", f"all {len(values)} scores are {values[0]}",
                "give the sheet back to the rater: without any difference it says nothing",
            )  # fmt: skip


def _unquoted(text: str) -> str:
    """Without the mark that kept a spreadsheet from calculating it."""
    return text[1:] if text.startswith("'") else text


def _plain(text: str) -> str:
    straight = text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0xFFFD: "'"})
    return " ".join(straight.split()).lower().strip("\"'")


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} cells"
