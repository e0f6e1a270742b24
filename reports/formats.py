"""How numbers, dates and money are written: in one place, so that no two pages disagree.

A value that is absent is an en dash; a minus sign is a real minus (U+2212).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

NONE = "–"
Scale = Literal["plain", "percent"]
Cell = str | int | float | bool | None


def number(value: float | None, digits: int | None = None) -> str:
    """1234.5 -> `1,234.5`; without `digits` about three significant ones."""
    if value is None or not math.isfinite(value):
        return NONE
    if digits is None:
        size = abs(value)
        if isinstance(value, int) or value == int(value):
            digits = 0 if size >= 10 or isinstance(value, int) else 1
        else:
            digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 0.1 else 4
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def percent(share: float | None, *, signed: bool = False, digits: int = 1) -> str:
    """0.178 -> `17.8%`; signed -> `+17.8%` or `−17.8%`."""
    if share is None or not math.isfinite(share):
        return NONE
    text = number(share * 100, digits) + "%"
    return f"+{text}" if signed and share > 0 and not text.startswith("0.0%") else text


def interval(
    low: float | None, high: float | None, scale: Scale, *, signed: bool = False, digits: int = 2
) -> str:
    """`−21.0% to −14.2%`; an en dash when an end is missing."""
    if low is None or high is None:
        return NONE
    ends = (level(end, scale, signed=signed, digits=digits) for end in (low, high))
    return " to ".join(ends)


def level(
    value: float | None,
    scale: Scale,
    *,
    signed: bool = False,
    short: bool = False,
    digits: int = 2,
) -> str:
    """A value in its scale; `short` drops the decimals of a round percentage."""
    if scale == "percent":
        whole = short and value is not None and abs(value * 100 - round(value * 100)) < 1e-9
        return percent(value, signed=signed, digits=0 if whole else 1)
    if value is None or not math.isfinite(value):
        return NONE
    text = number(value, digits)
    return f"+{text}" if signed and value > 0 and text.strip("0.,") else text


def prose(text: str) -> str:
    """A sentence of ours as it is printed: `95 %` -> `95%`, `->` -> an arrow."""
    return re.sub(r"(\d) %", r"\1%", text).replace("->", "→").strip()


def usd(amount: float | None, digits: int | None = None) -> str:
    """`$1,234.56`; below a dollar three decimals, so that small jobs show what they cost."""
    if amount is None or not math.isfinite(amount):
        return NONE
    if digits is None:
        digits = 2 if abs(amount) >= 1 or amount == 0 else 3 if abs(amount) >= 0.01 else 4
    return ("−" if amount < 0 else "") + f"${abs(amount):,.{digits}f}"


def duration(seconds: float | None) -> str:
    """`8 s`, `9 min 20 s`, `13 h 5 min`."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s" if total % 60 else f"{total // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def size(count: float | None) -> str:
    """Bytes as `1.2 MB` (powers of 1000)."""
    if count is None:
        return NONE
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def date(moment: datetime) -> str:
    """`14 March 2026`, in UTC."""
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y}"


def timestamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def arc(key: str) -> str:
    """`couple_conflict_to_alignment` -> `Couple conflict to alignment`."""
    text = key.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


_KEY = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_MONEY = re.compile(r"usd|cost|\$")


def cell(value: Cell, column: str = "", digits: int | None = None) -> str:
    """A raw table cell as text; the column's name decides money, seconds and percent."""
    name = column.lower()
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return arc(value) if name in KEY_COLUMNS else value
    if is_money(column):
        return usd(float(value), digits)
    if re.search(r"seconds|\bs$|\(s\)$|duration|time", name):
        return duration(float(value))
    if re.search(r"share|percent|%|rate$", name):
        return percent(float(value))
    return number(value)


def is_money(column: str) -> bool:
    """True when the column's name says that it holds dollars."""
    return bool(_MONEY.search(column.lower()))


# Columns whose texts are keys or short words of ours: shown with a capital letter.
KEY_COLUMNS = frozenset({"arc", "persona", "topic", "emotional arc", "stage", "part", "marker"})


def is_key(text: str) -> bool:
    """True for `couple_conflict_to_alignment`, false for a sentence."""
    return bool(_KEY.fullmatch(text))


def is_numeric(values: Iterable[Cell]) -> bool:
    """True when every value that is there is a number, and there is one."""
    known = [value for value in values if value is not None]
    return bool(known) and not any(isinstance(value, str | bool) for value in known)


def clip(text: str, most: int) -> str:
    """At most `most` characters on one line, an ellipsis for what is left out."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def plotted(text: str, most: int = 28) -> str:
    """A label that matplotlib cannot read as mathematics, cut to `most` characters."""
    text = clip(text, most)
    return "".join(
        c if c.isprintable() and (ord(c) < 0x250 or c in "–…") else "·" for c in text
    ).replace("$", r"\$")


def times(n: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def p_value(p: float) -> str:
    """Three digits; one that rounds to nothing is still more than nothing."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
