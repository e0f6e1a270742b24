"""RunPod's own bill: GET /v2/billing/pods, by pod and hour (by day when it is long ago)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from brightrun.compute.provider import Billed
from brightrun.compute.runpod.client import Client
from brightrun.compute.runpod.problems import Away

HOURLY = timedelta(days=8)


def billed(
    rest: Client, since: datetime, now: datetime, names: Mapping[str, str]
) -> tuple[Billed, ...]:
    """names: pod id -> name, of the pods that are there still; the bill itself has ids only."""
    size = "hour" if now - since <= HOURLY else "day"
    start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    answers = rest.pages("/v2/billing/pods", {"startTime": start, "bucketSize": size})
    try:
        return tuple(row_of(record, names) for answer in answers for record in answer["records"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Away(f"RunPod's bill cannot be read: {type(error).__name__}") from None


def row_of(record: Mapping[str, Any], names: Mapping[str, str]) -> Billed:
    """PodBillingRecord of the contract; its amounts are JSON numbers in dollars."""
    return Billed(
        pod_id=record["podId"],
        name=names.get(record["podId"], ""),
        start=datetime.fromisoformat(record["startTime"]),
        end=datetime.fromisoformat(record["endTime"]),
        usd=Decimal(str(record["totalAmount"])),
        disk_usd=Decimal(str(record["diskAmount"])),
    )
