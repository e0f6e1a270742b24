"""What a preset's jobs have taught so far. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from brightrun.history import HistoryRow, success_rate


def experience(preset: str, rows: Sequence[HistoryRow]) -> dict[str, Any]:
    """{ended, completed, success_rate, median_hours, median_usd, where, why, error_codes}."""
    mine = [row for row in rows if row.preset == preset]
    ended = [row for row in mine if row.status in ("completed", "failed")]
    done = [row for row in ended if row.status == "completed"]
    hours = [row.hours for row in done if row.hours is not None]
    places = Counter(row.provider for row in done)
    where = ", ".join(f"{n} on {name}" for name, n in places.most_common())
    return {
        "ended": len(ended),
        "completed": len(done),
        "success_rate": success_rate(ended),
        "median_hours": median(hours) if hours else None,
        "median_usd": median(float(row.cost_usd) for row in done) if done else None,
        "where": where,
        "why": reason(places),
        "error_codes": dict(Counter(r.error_code for r in ended if r.error_code).most_common()),
    }


def reason(places: Counter[str]) -> str:
    """Why ours are not the planned numbers."""
    if not places:
        return ""
    if set(places) == {"local"}:
        return "planned for Llama 3 70B on an H100; ours trained a small model on this machine"
    return "planned from guesses; ours from tokens, GPU and measured speed (docs/estimates.md)"
