"""A filled sheet as a file: text whatever saved it, and one dict per row under a header that holds.

A byte order mark, CRLF, semicolons, tabs or a Windows encoding are read; a missing, strange or
doubled column is a problem.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

# Columns of the spreadsheet twin that are shown to the rater and not read back.
SHOWN = ("client_message", "answer_A", "answer_B")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where (row as a spreadsheet counts, 1 = header), and how to mend it."""

    file: str
    row: int | None
    column: str
    message: str
    fix: str

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (
                self.file,
                f"row {self.row}" if self.row else "",
                f"column {self.column}" if self.column else "",
            )
            if part
        )
        return f"{place}: {self.message}. Fix: {self.fix}"


def rows_of(
    name: str, content: bytes, fill: Sequence[str]
) -> tuple[list[tuple[int, dict[str, str]]], list[Problem]]:
    """(number, cells by column) of every row, cells stripped, blank rows counted and left out;
    fill: the columns that must be there."""
    text = _decoded(content)
    header_line = text.split("\n", 1)[0]
    marks = {mark: header_line.count(mark) for mark in ",;\t"}
    delimiter = max(marks, key=lambda mark: marks[mark])
    found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if not found or "item" not in found[0]:
        message = f"no header row with `item` (found {header_line[:60].strip()!r})"
        fix = "send the CSV that the sheet saved, with its first row"
        return [], [Problem(name, 1, "item", message, fix)]
    header = [column.strip() for column in found[0]]
    rows = [
        (number, dict(zip(header, (c.strip() for c in cells), strict=False)))
        for number, cells in enumerate(found[1:], start=2)
        if any(c.strip() for c in cells)
    ]
    return rows, _unfit(name, header, fill)


def _unfit(name: str, header: Sequence[str], fill: Sequence[str]) -> list[Problem]:
    known = {"item", *SHOWN, *fill}
    strange = [column or "(blank)" for column in header if column not in known]
    absent = [column for column in fill if column not in header]
    doubled = sorted({column for column in header if header.count(column) > 1})
    return [
        *(Problem(name, 1, c, "the sheet has no such column", "remove it") for c in strange),
        *(
            Problem(name, 1, c, "the column is missing", "put it back, blank where unknown")
            for c in absent
        ),
        *(Problem(name, 1, c, "the column stands twice", "remove one of the two") for c in doubled),
    ]


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What a spreadsheet's plain "CSV" writes on Windows; ids and scores are ASCII in both.
        return content.decode("cp1252", errors="replace")
