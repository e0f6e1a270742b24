"""Lists for the Prefect UI: jobs, what they say together, presets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import history
from brightrun.history import HistoryRow, Wanted
from brightrun.jobs import PRESETS
from brightrun.ledger import Ledger
from brightrun.presetcards import experience
from brightrun.settings import load
from tasks import artifacts


@task(name="list jobs", cache_policy=NO_CACHE)
def jobs(client: str, sort: history.Sort, limit: int) -> list[dict[str, Any]]:
    """The first so many jobs as a table; what is not measured stands last."""
    wanted = Wanted(client=client)
    rows = Ledger.open(load()).history(wanted, datetime.now(UTC))
    shown = [line(row) for row in history.chosen(rows, wanted, sort, limit)]
    artifacts.table("jobs", shown, f"Jobs by {sort}")
    return shown


@task(name="sum up jobs", cache_policy=NO_CACHE)
def sums(client: str) -> dict[str, Any]:
    """Success, cost and errors by preset and person, as tables."""
    rows = Ledger.open(load()).history(Wanted(client=client), datetime.now(UTC))
    found = history.summary(rows)
    for key in ("presets", "people"):
        table = [{key: name or "(unnamed)", **group} for name, group in found[key].items()]
        artifacts.table(f"by-{key}", table, f"Jobs by {key}")
    presets = [
        {"preset": str(name), "for": info.summary, "risk": info.risk, "planned": info.users_hours,
         **{k: v for k, v in experience(str(name), rows).items() if k != "error_codes"}}
        for name, info in PRESETS.items()
    ]  # fmt: skip
    artifacts.table("presets", presets, "Presets: planned, and what ours took")
    return found


def line(row: HistoryRow) -> dict[str, Any]:
    return {
        "job": row.job_id,
        "status": row.status,
        "name": row.name,
        "client": row.client,
        "preset": row.preset,
        "asked by": row.requested_by,
        "USD": round(float(row.cost_usd), 4),
        "hours": None if row.hours is None else round(row.hours, 2),
        "EI gain": "not measured" if row.quality is None else str(row.quality),
        "created": f"{row.created_at:%Y-%m-%d %H:%M}",
    }
