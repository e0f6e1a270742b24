"""A number with its noun, as every room says it."""

from __future__ import annotations


def count(n: int, one: str, many: str = "") -> str:
    """`1 question`, `1,250 questions`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
