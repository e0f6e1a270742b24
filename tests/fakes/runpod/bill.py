"""The fake's own books: whole seconds, whole micro-dollars; nothing of ours is used to count."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

MICRO = 1_000_000
MONTH_S = 730 * 3600


@dataclass
class Line:
    """One pod's bill: GPU from `since` to `until` (None: now), disk to `removed`."""

    pod_id: str
    name: str
    micro_per_hour: int
    disk_gb: int
    since: datetime
    until: datetime | None = None
    removed: datetime | None = None

    def gpu_micro(self, at: datetime) -> int:
        """Every begun second costs."""
        end = min(at, self.until) if self.until else at
        seconds = max(0, math.ceil((end - self.since).total_seconds()))
        return round(self.micro_per_hour * seconds / 3600)

    def disk_micro(self, at: datetime, micro_per_gb_month: int) -> int:
        end = min(at, self.removed) if self.removed else at
        seconds = max(0, math.ceil((end - self.since).total_seconds()))
        return round(self.disk_gb * micro_per_gb_month * seconds / MONTH_S)


@dataclass
class Bill:
    """`credit_micro` is what the account had; disk is free unless a test gives it a price."""

    credit_micro: int = 100 * MICRO
    disk_micro_per_gb_month: int = 0
    lines: dict[str, Line] = field(default_factory=dict)

    def total_micro(self, at: datetime) -> int:
        return sum(
            line.gpu_micro(at) + line.disk_micro(at, self.disk_micro_per_gb_month)
            for line in self.lines.values()
        )

    def balance_micro(self, at: datetime) -> int:
        return self.credit_micro - self.total_micro(at)

    def spend_per_hour(self) -> float:
        return (
            sum(line.micro_per_hour for line in self.lines.values() if line.until is None) / MICRO
        )

    def billed(self, query: dict[str, str], now: datetime) -> dict[str, Any]:
        """ListPodBillingResponse: buckets of an hour or a day, one record per pod and bucket."""
        size = query.get("bucketSize", "day")
        step = {"hour": timedelta(hours=1), "day": timedelta(days=1)}[size]
        first = _floor(_moment(query.get("startTime")) or now - timedelta(days=30), step)
        last = _floor(_moment(query.get("endTime")) or now, step) + step
        if "lastN" in query:
            last = _floor(now, step) + step
            first = last - int(query["lastN"]) * step
        records, at = [], first
        while at < last:
            for line in self.lines.values():
                if query.get("podId", line.pod_id) == line.pod_id:
                    amounts = self._amounts(line, min(at, now), min(at + step, now))
                    if amounts["totalAmount"] > 0:
                        times = {"startTime": _iso(at), "endTime": _iso(at + step)}
                        records.append({**times, "podId": line.pod_id, **amounts})
            at += step
        names = ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount")
        asked = {"startTime": _iso(first), "endTime": _iso(last), "bucketSize": size}
        return {
            "records": records,
            "metadata": {
                "query": {**asked, "podId": query.get("podId")},
                "recordCount": len(records),
                "uniquePodCount": len({r["podId"] for r in records}),
                "totals": {n: round(sum(r[n] for r in records), 6) for n in names},
            },
        }

    def _amounts(self, line: Line, start: datetime, end: datetime) -> dict[str, float]:
        rate = self.disk_micro_per_gb_month
        gpu = line.gpu_micro(end) - line.gpu_micro(start)
        disk = line.disk_micro(end, rate) - line.disk_micro(start, rate)
        return {
            "totalAmount": (gpu + disk) / MICRO,
            "gpuAmount": gpu / MICRO,
            "cpuAmount": 0.0,
            "diskAmount": disk / MICRO,
        }


def _floor(at: datetime, step: timedelta) -> datetime:
    day = datetime(at.year, at.month, at.day, tzinfo=UTC)
    return day + (at - day) // step * step


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
