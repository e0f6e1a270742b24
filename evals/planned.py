"""What the plan promised before training, and what is exploratory because it stands outside."""

from __future__ import annotations

from typing import Any

from brightrun.verdicts import EvidenceKind, MetricName, Verdict

# A source file that changed after the plan was hashed makes these metrics exploratory.
DEPENDS: dict[str, tuple[MetricName, ...]] = {
    "lexicons.json": (MetricName.brand_voice, MetricName.marker_index, MetricName.safety),
    "questions.jsonl": (MetricName.knowledge_retention,),
    "rewrites.jsonl": (MetricName.brand_voice, MetricName.marker_index),
    "rubric.json": (MetricName.emotional_intelligence,),
    "scenarios.jsonl": (
        MetricName.brand_voice,
        MetricName.emotional_intelligence,
        MetricName.marker_index,
        MetricName.safety,
    ),
    "voice.json": (MetricName.brand_voice,),
}
# What only counting rests on, and what only judging does.
COUNTED, JUDGED = ("lexicons.json", "rewrites.jsonl"), ("rubric.json", "voice.json")
JUDGED_BY = {
    EvidenceKind.human: "human",
    EvidenceKind.llm_judge: "llm",
    EvidenceKind.llm_judge_uncalibrated: "llm",
}


def changed_sources(planned: dict[str, Any], now: dict[str, dict[str, str]]) -> set[str]:
    names = set(planned) | set(now)
    return {
        name
        for name in names
        if planned.get(name, {}).get("sha256") != now.get(name, {}).get("sha256")
    }


def stamped(verdict: Verdict, changed: set[str], plan: dict[str, Any]) -> Verdict:
    """Mark a result as exploratory when the plan, hashed before training, does not hold it."""
    other = COUNTED if verdict.evidence in JUDGED_BY else JUDGED
    causes = sorted(
        name for name in changed if verdict.metric in DEPENDS.get(name, ()) and name not in other
    )
    why = [f"{', '.join(causes)} changed after the plan was hashed"] if causes else []
    judge = JUDGED_BY.get(verdict.evidence)
    if judge and verdict.n and judge not in plan.get("judges", ()):
        why.append(f"the plan names no {judge} judge")
    if not why:
        return verdict
    return verdict.model_copy(
        update={"note": f"Exploratory: {'; '.join(why)}. {verdict.note}", "exploratory": True}
    )
