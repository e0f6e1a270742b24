"""The user's measures of success: value, target, n, or why it cannot be measured here. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from brightrun.frozen import Frozen
from brightrun.history import HistoryRow

WITHIN = Decimal("0.15")
RESUME_MINUTES = 10.0
NOT_OURS = "not measurable by us"


class Score(Frozen):
    """met is None where there is nothing to judge; value and target in words."""

    metric: str
    value: str
    target: str
    n: int
    met: bool | None
    note: str = ""


class Facts(Frozen):
    """What the ledger knows beside the rows: ids of jobs that a person touched between start and
    end; minutes from each lost pod to its successor's first sign; standing by metric."""

    touched: frozenset[str]
    resume_minutes: tuple[float, ...]
    verdicts: dict[str, dict[str, int]]


SOLD = {
    "emotional_intelligence": "EI at least 40 % better",
    "perplexity": "perplexity at least 30 % lower",
    "knowledge_retention": "knowledge at least 95 % kept",
    "brand_voice": "voice at least 85 %",
    "safety": "all safety gates passed",
}


def scorecard(rows: Sequence[HistoryRow], facts: Facts) -> tuple[Score, ...]:
    """DOMAIN's measures over these jobs; a job is a success when it needed nobody."""
    return (
        _unattended(rows, facts),
        _on_estimate(rows),
        _resumed(facts),
        *(_claim(metric, said, facts.verdicts.get(metric, {})) for metric, said in SOLD.items()),
        Score(metric="set-up time", value=NOT_OURS, target="10 min", n=0, met=None,
              note="it happens before the ledger exists"),
        Score(metric="client questions answered by the report", value=NOT_OURS, target="-", n=0,
              met=None, note="ask sales"),
    )  # fmt: skip


def _unattended(rows: Sequence[HistoryRow], facts: Facts) -> Score:
    ended = [row for row in rows if row.status in ("completed", "failed")]
    alone = sum(r.status == "completed" and r.job_id not in facts.touched for r in ended)
    share = alone / len(ended) if ended else None
    return Score(
        metric="jobs finished without an engineer",
        value="no job has ended" if share is None else f"{share:.1%}",
        target="at least 95 %",
        n=len(ended),
        met=None if share is None else share >= 0.95,
        note="completed, and nobody approved, paused, switched or resumed after the start",
    )


def _on_estimate(rows: Sequence[HistoryRow]) -> Score:
    known = [r for r in rows if r.status == "completed" and r.likely_usd]
    inside = sum(abs(r.cost_usd - r.likely_usd) <= WITHIN * r.likely_usd for r in known
                 if r.likely_usd)  # fmt: skip
    return Score(
        metric="cost within 15 % of the likely estimate",
        value=f"{inside / len(known):.1%}" if known else "no job has ended",
        target="every job",
        n=len(known),
        met=inside == len(known) if known else None,
    )


def _resumed(facts: Facts) -> Score:
    minutes = sorted(facts.resume_minutes)
    fast = sum(m <= RESUME_MINUTES for m in minutes)
    return Score(
        metric="interruptions resumed within 10 minutes",
        value=f"{fast / len(minutes):.1%}, slowest {minutes[-1]:.1f} min" if minutes else "none",
        target="all",
        n=len(minutes),
        met=fast == len(minutes) if minutes else None,
    )


def _claim(metric: str, said: str, found: dict[str, int]) -> Score:
    judged = sum(n for met, n in found.items() if met in ("pass", "fail", "inconclusive"))
    words = [f"{met.replace('_', ' ')} {n}" for met, n in sorted(found.items())]
    return Score(
        metric=metric.replace("_", " "),
        value=", ".join(words) or "not measured",
        target=said,
        n=judged,
        met=found.get("pass", 0) == judged if judged else None,
    )
