"""The baseline's measurements, used again by the next job with the same model and items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from brightrun import baselines
from brightrun.jobs import PRESETS, BaseModelRef, DataRef, JobSpec, Preset
from brightrun.runfolder import RunFolder
from evals.plan import PLAN, make_plan

DEMO = PRESETS[Preset.demo].values
KINDS = ("likelihood", "neutral", "knowledge", "option_text", "answers")
MACHINE = {"hardware": {"device": "cpu"}, "threads": 2}


def planned(root: Path, job_id: str, **values: Any) -> tuple[RunFolder, JobSpec, dict[str, Any]]:
    folder = RunFolder(root.as_uri(), job_id)
    chosen = DEMO.model_copy(update=values)
    data = DataRef(
        name="f", source_sha256="", train_sha256="", validation_sha256="v", train_conversations=9,
        validation_conversations=2, supervised_pairs=30, train_tokens=1000, supervised_tokens=600,
    )  # fmt: skip
    sha = make_plan(chosen, "Be kind.").write(folder)
    base = BaseModelRef(name="demo", sha256="b", context=8192, template="chatml")
    spec = JobSpec(base_model=base, data=data, values=chosen, plan_sha256=sha, threads=2)
    return folder, spec, folder.read_json(PLAN)


def measured(root: Path, job_id: str, machine: dict[str, Any] = MACHINE) -> RunFolder:
    """A finished job whose baseline is kept."""
    folder, spec, plan = planned(root, job_id)
    for kind in KINDS:
        rows = [{"model": m, "item": n} for m in ("baseline", "trained") for n in range(3)]
        folder.write_jsonl(f"measurements/{kind}.jsonl", rows)
    folder.write_json(baselines.MACHINE, machine)
    scores = [{"metric": "safety", "evidence": "measurement", "n": 6, "baseline": 0.5}]
    assert baselines.keep(folder, spec, plan, scores) == list(KINDS)
    return folder


def test_the_next_job_finds_the_baseline_as_finished_items(tmp_path: Path) -> None:
    measured(tmp_path, "first")
    folder, spec, plan = planned(tmp_path, "second")
    found = baselines.lay_out(folder, spec, plan)
    assert set(found) == set(KINDS)
    assert found["answers"] == {"job": "first", "rows": 3}
    rows = folder.read_jsonl(f"{baselines.PARTS}/answers/{baselines.PART}")
    assert {row["model"] for row in rows} == {"baseline"}
    assert folder.read_json(baselines.CACHED)["machine"] == MACHINE
    assert baselines.known(folder, gpu=False) == dict.fromkeys(KINDS, "first")
    assert baselines.known(folder, gpu=True) == {}  # measured on a CPU: no use there


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"max_new_tokens": 97}, {"likelihood", "neutral", "knowledge", "option_text"}),
        ({"scenarios": 11}, {"likelihood", "neutral", "knowledge", "option_text"}),
        ({"questions": 24}, {"likelihood", "neutral", "answers"}),
        ({"precision": "bf16"}, set()),
        ({"seed": 7}, {"likelihood", "neutral", "knowledge", "option_text", "answers"}),
        ({"passes": 3, "seed": 7}, {"likelihood", "neutral", "knowledge", "option_text"}),
    ],
)
def test_only_what_would_be_the_same_is_used_again(
    tmp_path: Path, change: dict[str, Any], again: set[str]
) -> None:
    measured(tmp_path, "first")
    assert set(baselines.lay_out(*planned(tmp_path, "second", **change))) == again


def test_a_damaged_row_is_not_used(tmp_path: Path) -> None:
    folder = measured(tmp_path, "first")
    _, spec, plan = planned(tmp_path, "second")
    key = baselines.keys(spec, plan)["answers"]
    kept = baselines.place(folder.storage_url, key)
    data = kept.read_bytes("rows/rows.jsonl")
    kept.write_bytes("rows/rows.jsonl", data.replace(b"0", b"1"))
    assert "answers" not in baselines.lay_out(*planned(tmp_path, "second"))


def test_scores_are_those_of_the_same_scenarios(tmp_path: Path) -> None:
    folder = measured(tmp_path, "first")
    _, spec, plan = planned(tmp_path, "second")
    known = baselines.scores(folder.storage_url, spec, plan)
    assert [(row["job"], row["baseline"]) for row in known] == [("first", 0.5)]
    ours = {"evidence": "human", "n": 6, "baseline": 3.8}
    rated = [{**ours, "metric": name} for name in ("emotional_intelligence", "safety")]
    knows = {**ours, "metric": "knowledge_retention", "baseline": 0.4}
    baselines.keep(folder, spec, plan, [*rated, knows])
    # Who comes later without raters takes no rating away.
    later, same, plan_again = planned(tmp_path, "later")
    later.write_json(baselines.MACHINE, MACHINE)
    for kind in KINDS:
        later.write_jsonl(f"measurements/{kind}.jsonl", [])
    measured_again = [{"metric": "safety", "evidence": "measurement", "n": 6, "baseline": 0.5}]
    baselines.keep(later, same, plan_again, measured_again)
    found = baselines.scores(folder.storage_url, spec, plan)
    assert {(s["metric"], s["evidence"], s["job"]) for s in found} == {
        ("safety", "measurement", "later"), ("safety", "human", "first"),
        ("emotional_intelligence", "human", "first"), ("knowledge_retention", "human", "first"),
    }  # fmt: skip
    _, fewer, fewer_plan = planned(tmp_path, "fourth", questions=24)
    other_questions = baselines.scores(folder.storage_url, fewer, fewer_plan)
    assert "knowledge_retention" not in {s["metric"] for s in other_questions}
    assert len(other_questions) == 3
    _, other, others_plan = planned(tmp_path, "third", scenarios=5)
    assert baselines.scores(folder.storage_url, other, others_plan) == []


def test_what_another_machine_measured_is_replaced_or_nobody_here_could_use_it(
    tmp_path: Path,
) -> None:
    measured(tmp_path, "first")
    other = {**MACHINE, "threads": 8}
    measured(tmp_path, "second", other)
    folder, spec, plan = planned(tmp_path, "third")
    assert {found["job"] for found in baselines.lay_out(folder, spec, plan).values()} == {"second"}
    assert folder.read_json(baselines.CACHED)["machine"] == other
    folder.write_json(baselines.MACHINE, other)
    for kind in KINDS:
        folder.write_jsonl(f"measurements/{kind}.jsonl", [{"model": "baseline", "item": 0}])
    assert baselines.keep(folder, spec, plan, []) == []
    kept = baselines.place(folder.storage_url, baselines.keys(spec, plan)["answers"])
    kept.write_bytes("rows/rows.jsonl", b"damaged")
    assert baselines.keep(folder, spec, plan, []) == ["answers"]
