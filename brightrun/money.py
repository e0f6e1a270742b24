"""Dollars and whole micro-dollars (10**-6 USD): the ledger only ever stores the latter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

MICRO = 1_000_000
HOUR_US = 3_600 * MICRO
_MICROSECOND = timedelta(microseconds=1)


def to_micro(usd: Decimal) -> int:
    """Whole micro-dollars, half rounded up. A float is refused by its type: it is not exact."""
    return int((usd * MICRO).to_integral_value(rounding=ROUND_HALF_UP))


def to_usd(micro: int) -> Decimal:
    """Exact dollars of whole micro-dollars."""
    return Decimal(micro) / MICRO


def shown(usd: Decimal) -> str:
    """$12.30; below a dollar with four digits, as small models cost."""
    return f"${usd:,.4f}" if abs(usd) < 1 else f"${usd:,.2f}"


def microseconds(start: datetime, end: datetime) -> int:
    """Whole microseconds from start to end; 0 when the clock ran backwards."""
    return max(0, (end - start) // _MICROSECOND)


def rental(micro_per_hour: int, duration_us: int) -> int:
    """Micro-dollars for a rented time, in integers, half rounded up."""
    return (2 * micro_per_hour * duration_us + HOUR_US) // (2 * HOUR_US)


def part_of(total_micro: int, part_us: int, whole_us: int) -> int:
    """The first `part_us` of a bill over `whole_us`; whole_us 0 = everything at once.

    Used cumulatively (bill up to b minus bill up to a), so parts always sum to the total.
    """
    if whole_us <= 0 or part_us >= whole_us:
        return total_micro
    return (2 * total_micro * max(0, part_us) + whole_us) // (2 * whole_us)


def split(total_micro: int, weights: Sequence[int]) -> list[int]:
    """A bill in parts that sum to it exactly, each within a micro-dollar of its share.

    weights: whole numbers >= 0, such as microseconds; all 0 = everything is the first one's.
    """
    whole = sum(weights)
    if whole == 0:
        return [total_micro if n == 0 else 0 for n in range(len(weights))]
    parts, until, before = [], 0, 0
    for weight in weights:
        until += weight
        after = part_of(total_micro, until, whole)
        parts.append(after - before)
        before = after
    return parts
