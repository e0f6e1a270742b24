"""A job's share of what is billed by the month: the network volume and the object storage. Pure.

They stand beside a job's bill and are no part of its cost: the provider bills them whether the job
runs or not, so that no limit is held against them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from brightrun.bill import Line
from brightrun.frozen import Frozen
from brightrun.happening import Happening
from brightrun.ledger_rows import AttemptRow
from brightrun.settings import Settings

HOURS_PER_MONTH = Decimal(730)
MICRO = Decimal("0.000001")
# The trainer keeps the last three checkpoints and the best one.
KEPT = 4
GIGABYTE = Decimal(1_000_000_000)


class Monthly(Frozen):
    """Dollars per GB and month."""

    volume: Decimal = Decimal(0)
    storage: Decimal = Decimal(0)

    @classmethod
    def of(cls, settings: Settings) -> Monthly:
        here = settings.storage.startswith("file:") and not settings.pod_storage_url
        storage = Decimal(0) if here else settings.storage_usd_per_gb_month
        return cls(volume=settings.runpod_volume_usd_per_gb_month, storage=storage)


def beside(
    pods: Sequence[AttemptRow], events: Iterable[Happening], now: datetime, prices: Monthly
) -> tuple[Line, ...]:
    """Volume and storage lines, those that cost anything. events: the job's; a choice of a place
    says how large the volume was, a checkpoint how much it stored."""
    told = sorted(events, key=lambda event: event.ts)
    rented = sum(((p.ended_at or now) - p.launched_at).total_seconds() for p in pods)
    sizes = [float(e.payload.get("volume_gb") or 0) for e in told if e.type == "choice"]
    saved = [e for e in told if e.type == "checkpoint"]
    stored = sum(sorted(int(e.payload.get("bytes") or 0) for e in saved)[-KEPT:])
    since = (now - saved[0].ts).total_seconds() if saved else 0.0
    found = (
        line("volume", Decimal(str(max(sizes, default=0.0))), rented, prices.volume),
        line("storage", Decimal(stored) / GIGABYTE, since, prices.storage),
    )
    return tuple(one for one in found if one.usd > 0)


def line(name: str, gigabytes: Decimal, seconds: float, usd: Decimal) -> Line:
    """GB x hours / 730 x dollars per GB and month."""
    hours = Decimal(str(max(0.0, seconds))) / 3600
    cost = (gigabytes * hours / HOURS_PER_MONTH * usd).quantize(MICRO, rounding=ROUND_HALF_UP)
    basis = (
        f"share of a monthly bill, not in the cost: {gigabytes:.1f} GB for {hours:.2f} h at "
        f"${usd} per GB and month"
    )
    return Line(name=name, usd=cost, seconds=max(0.0, seconds), basis=basis)
