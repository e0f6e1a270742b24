"""The headline verdicts together: Holm over their tests, and the guaranteed floor of each.

An improvement that is significant alone but not among all headline tests is not called one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brightrun.verdicts import MetricName, TargetMet, Verdict
from evals import statistics
from evals.effects import holm
from evals.statistics import Better, Interval

# The marker index has no target: it is no headline.
HEADLINES = (
    MetricName.perplexity,
    MetricName.emotional_intelligence,
    MetricName.knowledge_retention,
    MetricName.brand_voice,
)
LOWER = (MetricName.perplexity,)


def settle(verdicts: Sequence[Verdict], floors: Mapping[str, float]) -> tuple[Verdict, ...]:
    """floors: metric -> relative change; verdicts that have theirs keep it."""
    tested = [v for v in verdicts if v.metric in HEADLINES and v.p_value is not None]
    adjusted = dict(
        zip((id(v) for v in tested), holm([v.p_value or 0.0 for v in tested]), strict=True)
    )
    return tuple(_settled(v, adjusted.get(id(v)), floors.get(v.metric.value)) for v in verdicts)


def _settled(verdict: Verdict, p_holm: float | None, floor: float | None) -> Verdict:
    change: dict[str, object] = {}
    if p_holm is not None:
        change["p_holm"] = p_holm
        if verdict.improved is not None and p_holm >= 1 - statistics.CONFIDENCE:
            change["improved"] = None
            change["note"] = (
                f"{verdict.note} Not significant among all headline tests (Holm p = {p_holm:.3f})."
            )
    if floor is not None and verdict.floor is None and verdict.estimate is not None and verdict.n:
        change |= {"floor": floor, "floor_met": _floor(verdict, floor)}
    return verdict.model_copy(update=change) if change else verdict


def _floor(verdict: Verdict, floor: float) -> TargetMet:
    better: Better = "lower" if verdict.metric in LOWER else "higher"
    found = Interval(
        verdict.estimate or 0.0, verdict.ci_low, verdict.ci_high, 0.0, verdict.n_clusters
    )
    return statistics.decide(found, floor, better)
