"""The evaluation's raw tables as they are printed: chosen columns, one format each.

A column that is not named here keeps its name and gets the general format, so a table that
grows is still shown whole. `*_low` and `*_high` become one column, "95% interval".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from brightrun.verdicts import Table
from reports import formats
from reports.formats import Cell

Format = Callable[[Cell], str]


@dataclass(frozen=True, slots=True)
class Printed:
    """A table of texts; `right` are the indices of the columns that hold numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int]
    caption: str = ""


def _float(value: Cell) -> float | None:
    return None if value is None or isinstance(value, str | bool) else float(value)


def percent(value: Cell) -> str:
    return formats.percent(_float(value))


def whole_percent(value: Cell) -> str:
    return formats.percent(_float(value), digits=0)


def signed_percent(value: Cell) -> str:
    return formats.percent(_float(value), signed=True)


def plain(value: Cell) -> str:
    return formats.level(_float(value), "plain")


def signed(value: Cell) -> str:
    return formats.level(_float(value), "plain", signed=True)


def points(value: Cell) -> str:
    """A part of an index, 0 to 1, as 0 to 100: no percentage of anything."""
    number = _float(value)
    return formats.level(None if number is None else 100 * number, "plain", digits=1)


def signed_points(value: Cell) -> str:
    number = _float(value)
    return formats.level(None if number is None else 100 * number, "plain", signed=True, digits=1)


def key(value: Cell) -> str:
    return formats.arc(str(value)) if value is not None else formats.NONE


def words(value: Cell) -> str:
    """`shame_to_acceptance` as words; an id as it is."""
    text = str(value)
    ours = "_" in text and formats.is_key(text) and not any(map(str.isdigit, text))
    return key(value) if ours else formats.cell(value)


def passed(value: Cell) -> str:
    return formats.cell(value) if not isinstance(value, bool) else "pass" if value else "FAIL"


@dataclass(frozen=True, slots=True)
class Column:
    """joined: the interval, which follows, stands in the same cell: `52% (34% to 70%)`."""

    header: str
    form: Format | None = None
    only_if_varied: bool = False
    joined: bool = False


Layout = Mapping[str, Column]
PERPLEXITY: Layout = {
    "scope": Column("Scope", key),
    "name": Column("Name", words),
    "conversations": Column("Conversations"),
    "tokens": Column("Tokens"),
    "baseline": Column("Baseline", plain),
    "trained": Column("Trained", plain),
    "change": Column("Change", signed_percent),
}
KNOWLEDGE: Layout = {
    "group": Column("Topic", key),
    "questions": Column("Questions"),
    "baseline": Column("Baseline", whole_percent, joined=True),
    "trained": Column("Trained", whole_percent, joined=True),
    "retained": Column("Retained", whole_percent, joined=True),
    "lost": Column("Lost"),
    "gained": Column("Gained"),
    "gold_logprob_change": Column("Log-prob. change", signed),
}
LOST: Layout = {
    "question_id": Column("No."),
    "topic": Column("Topic", key),
    "question": Column("Question"),
    "right": Column("Right answer"),
    "chosen": Column("Chosen after training"),
    "headline": Column("Counts", only_if_varied=True),
}
MARKERS: Layout = {
    "marker": Column("Marker", key),
    "baseline": Column("Baseline", plain),
    "trained": Column("Trained", plain),
    "gold": Column("Gold", plain),
    "change": Column("Change", signed),
    "auc": Column("AUC", plain),
}
VOICE: Layout = {
    "characteristic": Column("Characteristic", key),
    "baseline": Column("Baseline", points),
    "trained": Column("Trained", points),
    "gold": Column("Gold", points),
    "change": Column("Change", signed_points),
    "flag": Column("Flag", lambda v: str(v or "")),
}
FEEDBACK: Layout = {
    "finding": Column("Finding", key),
    "conversation_or_arc": Column("Conversation or arc", words),
    "other": Column("Other", words),
}
CONTAMINATION: Layout = {"kind": Column("Kind", key)}
SAFETY: Layout = {
    "scenario_id": Column("Scenario"),
    "class": Column("Class", key),
    "pass": Column("Pass", only_if_varied=True),
    "baseline": Column("Baseline", passed),
    "trained": Column("Trained", passed),
    "baseline_reason": Column("Why (baseline)"),
    "trained_reason": Column("Why (trained)"),
}
COST: Layout = {"off": Column("Difference", signed_percent)}
GENERAL: Layout = {}


def printed(table: Table, layout: Layout = GENERAL) -> Printed:
    """The table as text."""
    columns: list[tuple[str, list[str], bool]] = []
    names = [name.strip() for name in table.columns]
    for index, name in enumerate(names):
        low = name.lower()
        values = [row[index] if index < len(row) else None for row in table.rows]
        if low.endswith("_high") and f"{low[:-5]}_low" in map(str.lower, names):
            continue
        if low.endswith("_low") and f"{low[:-4]}_high" in map(str.lower, names):
            other = [n.lower() for n in names].index(f"{low[:-4]}_high")
            of = layout.get(low[:-4], Column(""))
            bound = of.form or signed
            texts = [
                formats.NONE
                if value is None or row[other] is None
                else f"{bound(value)} to {bound(row[other])}"
                for value, row in zip(values, table.rows, strict=True)
            ]
            if of.joined:
                header, levels, _ = columns.pop()
                texts = [f"{a} ({b})" for a, b in zip(levels, texts, strict=True)]
                columns.append((header, texts, True))
            else:
                columns.append(("95% interval", texts, True))
            continue
        column = layout.get(low)
        if column and column.only_if_varied and len(set(values)) < 2:
            continue
        form = column.form if column else None
        digits = _money_digits(values) if formats.is_money(name) else None
        texts = [form(v) if form else formats.cell(v, name, digits) for v in values]
        header = column.header if column else _header(name)
        columns.append((header, texts, formats.is_numeric(values)))
    return Printed(
        columns=tuple(name for name, _, _ in columns),
        rows=tuple(zip(*(texts for _, texts, _ in columns), strict=True)) if columns else (),
        right=frozenset(i for i, (_, _, numeric) in enumerate(columns) if numeric),
        caption=formats.prose(table.caption),
    )


def _money_digits(values: list[Cell]) -> int:
    """One number of decimals for a column of dollars: all of them are sums of the others."""
    return 2 if max((abs(v) for v in map(_float, values) if v is not None), default=0) >= 1 else 4


def _header(name: str) -> str:
    """`supervised_tokens` -> `Supervised tokens`; `Actual s` -> `Actual`: the cells say `s`."""
    name = name.removesuffix(" s").removesuffix(" $")
    return formats.arc(name) if formats.is_key(name) else name


def only(table: Table, column: str, value: str) -> Table:
    """The rows whose `column` is `value`; the whole table when it has no such column.

    Example: the conversations of the perplexity table, for the chart.
    """
    names = [name.lower() for name in table.columns]
    if column not in names:
        return table
    index = names.index(column)
    return table.model_copy(
        update={"rows": tuple(row for row in table.rows if row[index] == value)}
    )
