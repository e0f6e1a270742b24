"""Many jobs at once: which to show, in which order, and what they say together. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from statistics import median
from typing import Any, Literal

from brightrun.frozen import Frozen

Sort = Literal["date", "cost", "duration", "quality"]
HISTORY_FROM = 3
FLAGGED = 0.20
SORTS: tuple[Sort, ...] = ("date", "cost", "duration", "quality")


@dataclass(frozen=True, slots=True)
class Quality:
    """The gain in emotional intelligence: point and lower bound, and who judged."""

    gain: float
    ci_low: float | None
    evidence: str

    def __str__(self) -> str:
        low = "" if self.ci_low is None else f" (at least {self.ci_low:+.0%})"
        return f"{self.gain:+.0%}{low} {self.evidence}"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A job in a list; cost_usd by now, hours from start to end (None: not both are known)."""

    job_id: str
    status: str
    stage: str
    name: str
    client: str
    requested_by: str
    preset: str
    provider: str
    training_file: str
    notes: str
    parent_job_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cost_usd: Decimal
    likely_usd: Decimal | None
    pods: int
    interruptions: int
    error_code: str
    quality: Quality | None

    @property
    def hours(self) -> float | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds() / 3600

    def as_json(self) -> dict[str, Any]:
        gained = self.quality
        return {
            "job_id": self.job_id,
            "status": self.status,
            "stage": self.stage,
            "name": self.name,
            "preset": self.preset,
            "client": self.client,
            "requested_by": self.requested_by,
            "training_file": self.training_file,
            "created": f"{self.created_at:%Y-%m-%d %H:%M}",
            "notes": self.notes,
            "parent": self.parent_job_id,
            "provider": self.provider,
            "cost_usd": float(self.cost_usd),
            "hours": self.hours,
            "interruptions": self.interruptions,
            "error": self.error_code,
            "quality": None if gained is None else {
                "gain": gained.gain, "ci_low": gained.ci_low, "evidence": gained.evidence,
            },
        }  # fmt: skip


class Wanted(Frozen):
    """Which jobs: empty fields keep all. since and until: of the creation, until excluded."""

    status: str = ""
    by: str = ""
    client: str = ""
    preset: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    cost_from: Decimal | None = None
    cost_to: Decimal | None = None


def chosen(
    rows: Iterable[HistoryRow], wanted: Wanted, sort: Sort, limit: int | None
) -> list[HistoryRow]:
    """By cost, then sorted, the first so many. What is not known stands last, never as 0."""
    low, high = wanted.cost_from, wanted.cost_to
    kept = [
        row
        for row in rows
        if (low is None or row.cost_usd >= low) and (high is None or row.cost_usd <= high)
    ]
    return sorted(kept, key=ORDER[sort])[:limit]


def _down(value: float | None) -> tuple[bool, float]:
    """Highest first, unknown last."""
    return (value is None, -(value or 0.0))


ORDER: dict[str, Callable[[HistoryRow], Any]] = {
    "date": lambda row: (-row.created_at.timestamp(), row.job_id),
    "cost": lambda row: (-row.cost_usd, row.job_id),
    "duration": lambda row: (*_down(row.hours), row.job_id),
    "quality": lambda row: (*_down(row.quality.gain if row.quality else None), row.job_id),
}


def beside_others(row: HistoryRow, rows: Iterable[HistoryRow]) -> dict[str, Any]:
    """A finished job against the others of its preset, provider and file.

    {n, median_usd, off, median_hours, hours_off, flagged}; below three others there is no history:
    the numbers are None. flagged: cost or duration more than 20 % off.
    """
    same = [
        other
        for other in rows
        if other.job_id != row.job_id
        and other.status == "completed"
        and (other.preset, other.provider, other.training_file)
        == (row.preset, row.provider, row.training_file)
    ]
    if len(same) < HISTORY_FROM:
        nothing = dict.fromkeys(("median_usd", "off", "median_hours", "hours_off"))
        return {"n": len(same), **nothing, "flagged": False}
    usd = median(float(other.cost_usd) for other in same)
    hours = median([other.hours for other in same if other.hours is not None] or [0.0])
    off = float(row.cost_usd) / usd - 1 if usd else None
    late = row.hours / hours - 1 if hours and row.hours is not None else None
    flagged = any(value is not None and abs(value) > FLAGGED for value in (off, late))
    return {
        "n": len(same), "median_usd": usd, "off": off, "median_hours": hours, "hours_off": late,
        "flagged": flagged,
    }  # fmt: skip


def history_sentence(found: dict[str, Any]) -> str:
    """ "12 % dearer and 3 % faster than the median of 5 like it"; "no history (1 like it)"."""
    if found["median_usd"] is None:
        return f"no history ({found['n']} like it, 3 are needed)"
    parts = []
    for off, words in (
        (found["off"], ("dearer", "cheaper")),
        (found["hours_off"], ("slower", "faster")),
    ):
        if off is not None:
            parts.append(f"{abs(off):.0%} {words[off < 0]}")
    flag = "; MORE THAN 20 % OFF" if found["flagged"] else ""
    return f"{' and '.join(parts)} than the median of {found['n']} like it{flag}"


def success_rate(rows: Sequence[HistoryRow]) -> float | None:
    """Completed over completed and failed: what a person rejected or cancelled is neither."""
    states = Counter(row.status for row in rows)
    ended = states["completed"] + states["failed"]
    return states["completed"] / ended if ended else None


def summary(rows: Sequence[HistoryRow]) -> dict[str, Any]:
    """Success rate, costs, interruptions, error codes, presets and people over some jobs."""
    paid = [row for row in rows if row.status == "completed"]
    total = sum((row.cost_usd for row in rows), Decimal(0))
    presets = {name: _group(group) for name, group in _by(rows, "preset").items()}
    return {
        "jobs": len(rows),
        "by_status": dict(Counter(row.status for row in rows).most_common()),
        "success_rate": success_rate(rows),
        "total_usd": float(total),
        "average_usd": float(sum((r.cost_usd for r in paid), Decimal(0)) / len(paid))
        if paid else None,
        "interruptions": sum(row.interruptions for row in rows),
        "interrupted_jobs": sum(row.interruptions > 0 for row in rows),
        "error_codes": dict(Counter(r.error_code for r in rows if r.error_code).most_common()),
        "presets": presets,
        "most_cost_effective": _best(presets),
        "people": {name: _group(group) for name, group in _by(rows, "requested_by").items()},
    }  # fmt: skip


def _by(rows: Sequence[HistoryRow], field: str) -> dict[str, list[HistoryRow]]:
    found: dict[str, list[HistoryRow]] = {}
    for row in rows:
        found.setdefault(getattr(row, field), []).append(row)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def _group(rows: Sequence[HistoryRow]) -> dict[str, Any]:
    """One preset's or person's jobs; usd_per_success counts what the failed ones cost too."""
    done = sum(row.status == "completed" for row in rows)
    spent = sum((row.cost_usd for row in rows), Decimal(0))
    measured = [r for r in rows if r.quality is not None and r.cost_usd > 0]
    paid = sum((r.cost_usd for r in measured), Decimal(0))
    gained = sum(r.quality.gain for r in measured if r.quality is not None)
    return {
        "jobs": len(rows),
        "completed": done,
        "success_rate": success_rate(rows),
        "total_usd": float(spent),
        "usd_per_success": float(spent / done) if done else None,
        "measured": len(measured),
        "gain_per_usd": gained / float(paid) if paid else None,
    }


def _best(presets: dict[str, Any]) -> dict[str, Any] | None:
    """Most gain for a dollar where it is measured; else the cheapest success, and it says so."""
    measured = {n: g for n, g in presets.items() if g["gain_per_usd"] is not None}
    if measured:
        name = max(measured, key=lambda n: measured[n]["gain_per_usd"])
        return {"preset": name, "by": "EI gain per dollar", "value": measured[name]["gain_per_usd"]}
    done = {n: g for n, g in presets.items() if g["usd_per_success"] is not None}
    if not done:
        return None
    name = min(done, key=lambda n: done[n]["usd_per_success"])
    by = "dollars per finished job (EI gain is not measured)"
    return {"preset": name, "by": by, "value": done[name]["usd_per_success"]}
