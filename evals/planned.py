"""What the plan promised before training, and what is exploratory because it stands outside."""

from __future__ import annotations

from typing import Any

from brightrun.modelnames import TRAINED
from brightrun.verdicts import EvidenceKind, MetricName, Verdict
from evals.plan import QUESTIONS, SCENARIOS

ANSWERED = (
    MetricName.brand_voice,
    MetricName.emotional_intelligence,
    MetricName.marker_index,
    MetricName.safety,
)
# What was changed after the plan was hashed makes these metrics exploratory: a source file, or how
# much of it is asked and how.
DEPENDS: dict[str, tuple[MetricName, ...]] = {
    "lexicons.json": (MetricName.brand_voice, MetricName.marker_index, MetricName.safety),
    "questions.jsonl": (MetricName.knowledge_retention,),
    "rewrites.jsonl": (MetricName.brand_voice, MetricName.marker_index),
    "rubric.json": (MetricName.emotional_intelligence,),
    "scenarios.jsonl": ANSWERED,
    "voice.json": (MetricName.brand_voice,),
    "passes": ANSWERED,
    "decoding": ANSWERED,
    "rotations": (MetricName.knowledge_retention,),
}
FOREIGN = (
    "the adapter comes from elsewhere: no plan was made before its training, and it may know what "
    "it is tested on"
)
KEPT = ("sources", "files", "n", "decoding", "targets", "judges")
# What only counting rests on, and what only judging does.
COUNTED, JUDGED = ("lexicons.json", "rewrites.jsonl"), ("rubric.json", "voice.json")
JUDGED_BY = {
    EvidenceKind.human: "human",
    EvidenceKind.llm_judge: "llm",
    EvidenceKind.llm_judge_uncalibrated: "llm",
}


def first_of(plan: dict[str, Any]) -> dict[str, Any]:
    """Of the plan that was hashed before training, what a later one is held against."""
    first: dict[str, Any] = plan.get("first") or {key: plan[key] for key in KEPT if key in plan}
    return first


def foreign(plan: dict[str, Any]) -> str:
    """sha256 of an adapter that was measured in place of the job's own, "" where it is its own."""
    return str(plan.get("adapters", {}).get(TRAINED, ""))


def beside(plan: dict[str, Any]) -> tuple[str, ...]:
    """Models that were added after training."""
    return tuple(name for name in plan.get("adapters", {}) if name != TRAINED and "first" in plan)


def changed(plan: dict[str, Any], now: dict[str, dict[str, str]]) -> set[str]:
    """Names of what is not as it was planned before training. now: versions of the sources."""
    first = first_of(plan)
    sources, asked = first["sources"], _asked(first)
    return {
        name
        for name in set(sources) | set(now)
        if sources.get(name, {}).get("sha256") != now.get(name, {}).get("sha256")
    } | {name for name, value in _asked(plan).items() if value != asked[name]}


def _asked(plan: dict[str, Any]) -> dict[str, Any]:
    """How much of the sources is asked, and how."""
    files, n = plan.get("files", {}), plan["n"]
    return {
        "scenarios.jsonl": files.get(SCENARIOS),
        "questions.jsonl": files.get(QUESTIONS),
        "passes": n["passes"],
        "rotations": n["rotations"],
        "decoding": plan["decoding"],
    }


def stamped(verdict: Verdict, changed: set[str], plan: dict[str, Any]) -> Verdict:
    """Mark a result as exploratory when the plan, hashed before training, does not hold it."""
    other = COUNTED if verdict.evidence in JUDGED_BY else JUDGED
    causes = sorted(
        name for name in changed if verdict.metric in DEPENDS.get(name, ()) and name not in other
    )
    why = [f"{', '.join(causes)} changed after the plan was hashed"] if causes else []
    if foreign(plan):
        why.append(FOREIGN)
    first = first_of(plan)
    if first["targets"].get(verdict.metric) != plan["targets"].get(verdict.metric):
        why.append("its target was set after the plan was hashed")
    judge = JUDGED_BY.get(verdict.evidence)
    if judge and verdict.n and judge not in first.get("judges", ()):
        why.append(f"the plan names no {judge} judge")
    if not why:
        return verdict
    return verdict.model_copy(
        update={"note": f"Exploratory: {'; '.join(why)}. {verdict.note}", "exploratory": True}
    )
