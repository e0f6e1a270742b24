"""What a spreadsheet would take for a formula stays text."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def harmless(value: T) -> T | str:
    """Text that begins like a formula (= + - @, also after blanks; tab, return): apostrophe first.

    Everything else is given back as it is.
    """
    if not isinstance(value, str):
        return value
    begins = value.lstrip()[:1] in tuple("=+-@") or value[:1] in tuple("\t\r")
    return f"'{value}" if begins else value
