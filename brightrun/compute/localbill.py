"""The local provider's notional bill: the time of a process at the price of its launch. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brightrun.compute.provider import Billed
from brightrun.money import microseconds, rental, to_micro, to_usd


def row_of(name: str, record: Mapping[str, Any], end: datetime, usd_per_hour: Decimal) -> Billed:
    """usd_per_hour: for records that were written before they held the price."""
    start = datetime.fromtimestamp(record["created"], UTC)
    price = Decimal(record.get("usd_per_hour", usd_per_hour))
    usd = to_usd(rental(to_micro(price), microseconds(start, end)))
    return Billed(pod_id=name, name=name, start=start, end=max(start, end), usd=usd)


def within(row: Billed, since: datetime) -> Billed:
    """The part of a row from `since` on; row.end is after it."""
    if row.start >= since:
        return row
    whole, part = microseconds(row.start, row.end), microseconds(since, row.end)
    usd = to_usd(to_micro(row.usd) * part // whole)
    return row.model_copy(update={"start": since, "usd": usd})
