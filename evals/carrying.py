"""Take over what is measured already: from an earlier job into the run folder of an assessment.

A row is taken when the model is the same one and the item was asked in the same words, the same
orders, with the same decoding. Everything else is measured. What the source was measured on goes
along: a pod of another kind measures an item anew where its other half would be its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from brightrun.baselines import MACHINE, PARTS, item
from brightrun.runfolder import RunFolder
from evals.plan import HARNESS, NEUTRAL, PLAN, QUESTIONS, SCENARIOS

Row = dict[str, Any]
# After the cached baseline's part and before those of any attempt.
PART = "0000-000002.jsonl"
LEFT = "left.json"  # in the run folder of an assessment


def carry_over(source: RunFolder, target: RunFolder, models: tuple[str, ...]) -> dict[str, int]:
    """Copy the rows of `models` that the target's plan asks for; how many of each kind."""
    before, now = source.read_json(PLAN), target.read_json(PLAN)
    same = {
        "likelihood": all_of,
        "neutral": unchanged(source, target, NEUTRAL, "text_id"),
        "knowledge": orders(
            unchanged(source, target, QUESTIONS, "question_id"), now["n"]["rotations"]
        ),
        "option_text": unchanged(source, target, QUESTIONS, "question_id"),
        "answers": unchanged(source, target, SCENARIOS, "scenario_id")
        if _decoding(before) == _decoding(now)
        else none_of,
    }
    if target.exists(HARNESS):
        same["harness"] = unchanged(source, target, HARNESS, "item_id")
    if source.exists(MACHINE):
        target.write_bytes(MACHINE, source.read_bytes(MACHINE))
    counts = {}
    for kind, wanted in same.items():
        rows = source.read_jsonl(f"measurements/{kind}.jsonl")
        taken = [row for row in rows if row["model"] in models and wanted(row)]
        if taken:
            target.write_jsonl(f"{PARTS}/{kind}/{PART}", taken)
        counts[kind] = len(taken)
    return counts


def all_of(row: Row) -> bool:
    return True


def none_of(row: Row) -> bool:
    return False


def unchanged(source: RunFolder, target: RunFolder, name: str, key: str) -> Callable[[Row], bool]:
    """Whether a row's item stands in both plans, word for word."""
    before = {row[key]: row for row in source.read_jsonl(name)}
    same = {row[key] for row in target.read_jsonl(name) if before.get(row[key]) == row}
    return lambda row: row[key] in same


def orders(same: Callable[[Row], bool], rotations: int) -> Callable[[Row], bool]:
    return lambda row: same(row) and row["rotation"] < rotations


def _decoding(plan: dict[str, Any]) -> dict[str, Any]:
    return {**plan["decoding"], "passes": plan["n"]["passes"], "seed": plan["seeds"]["answers"]}


def left(target: RunFolder, conversations: int) -> dict[str, int]:
    """Items of each kind that no row is there for: what a pod is rented for."""
    plan = target.read_json(PLAN)
    n, models = plan["n"], len(plan["models"])
    wanted = {
        "likelihood": models * conversations,
        "neutral": models * n["neutral_texts"],
        "knowledge": models * n["questions"] * n["rotations"],
        "option_text": models * n.get("option_texts", n["questions"]),
        "answers": models * n["scenarios"] * n["passes"],
    }
    if "harness_items" in n:
        wanted["harness"] = models * n["harness_items"]
    return {kind: max(0, count - _known(target, kind)) for kind, count in wanted.items()}


def _known(target: RunFolder, kind: str) -> int:
    parts = f"{PARTS}/{kind}"
    rows = [row for name in target.names(parts) for row in target.read_jsonl(f"{parts}/{name}")]
    return len({(row["model"], item(row)) for row in rows})
