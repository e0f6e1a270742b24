"""Adapters that are brought into an assessment: only those of the source job's base model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from report_jobs import SHA, START, evaluated_job

from brightrun.assessments import Wish, request_of
from brightrun.context import JobContext
from brightrun.conversations import FileReport
from brightrun.errors import EvaluationError
from evals.plan import PLAN, QUESTIONS, SCENARIOS, make_plan
from evals.planned import first_of, foreign
from tasks.assessing import ADAPTER, CONFIG, WEIGHTS, bring, frozen_spec

PUBLIC = "org/small"


def adapter(place: Path, base: str) -> Path:
    place.mkdir()
    (place / WEIGHTS).write_bytes(base.encode())
    (place / CONFIG).write_text(json.dumps({"r": 4, "base_model_name_or_path": base}))
    return place


@pytest.fixture
def source(home: Path) -> JobContext:
    job = evaluated_job("261120-7f3a")
    prepared = job.settings.models / "demo"
    prepared.mkdir(parents=True)
    facts = {"name": "demo", "public_name": f"{PUBLIC}@abc", "sha256": SHA}
    (prepared / "prepared.json").write_text(json.dumps(facts))
    return job


def trained(job_id: str, place: Path, sha256: str) -> JobContext:
    """Another finished job, on the base model of this hash."""
    job = evaluated_job(job_id)
    before = job.spec
    base = before.base_model.model_copy(update={"sha256": sha256})
    spec = before.model_copy(update={"base_model": base})
    job.folder.write_json("spec.json", {"spec": spec.model_dump(mode="json")})
    job.folder.upload_folder(adapter(place, "whatever"), ADAPTER, {})
    job.folder.write_json("plan/plan.json", {})
    return job


@pytest.mark.parametrize("base", ["demo", PUBLIC, f"{PUBLIC}@abc", ""])
def test_an_adapter_of_the_same_base_model_is_brought(
    source: JobContext, tmp_path: Path, base: str
) -> None:
    assert len(bring(str(adapter(tmp_path / "a", base)), source, source, ADAPTER)) == 64
    assert source.folder.manifest(ADAPTER) is not None


def test_an_adapter_of_another_base_model_is_refused(source: JobContext, tmp_path: Path) -> None:
    other = adapter(tmp_path / "a", "org/large")
    with pytest.raises(EvaluationError, match=r"trained on base model org/large, .* on demo"):
        bring(str(other), source, source, ADAPTER)
    (other / CONFIG).write_text("[]")
    with pytest.raises(EvaluationError, match="cannot be read"):
        bring(str(other), source, source, ADAPTER)
    assert source.folder.manifest(ADAPTER) is None


def test_a_jobs_adapter_is_brought_onto_the_same_weights_only(
    source: JobContext, tmp_path: Path
) -> None:
    same = trained("261121-aaaa", tmp_path / "a", SHA)
    assert bring(same.job_id, source, source, "adapters/beside")
    other = trained("261121-bbbb", tmp_path / "b", SHA[::-1])
    with pytest.raises(EvaluationError, match="261121-bbbb was trained on base model demo"):
        bring(other.job_id, source, source, "adapters/beside")


def again(
    job_id: str, source: JobContext, wish: Wish, weights: Mapping[str, str] | None = None
) -> JobContext:
    """The assessment of `source` as it is when its spec is frozen."""
    source.ledger.create_job(job_id, request_of(source.request, source.job_id, wish), at=START)
    job = JobContext(source.settings, source.ledger, job_id)
    job.folder.write_jsonl("data/train.jsonl", [])
    report = FileReport(
        path=Path("f.json"), name="f.json", format="json", sha256=SHA, valid=True,
        conversations=0, pairs=0, supervised_pairs=0, tokens=0, supervised_tokens=0,
        tokens_exact=True, longest=0, system_prompt="", arcs={}, personas={}, errors=(),
        warnings=(), rows=(),
    )  # fmt: skip
    job.folder.write_json("validation.json", report.model_dump(mode="json"))
    job.folder.write_json(
        "spec.json", {"spec": frozen_spec(job, source, weights or {}).model_dump(mode="json")}
    )
    return job


def test_each_assessment_keeps_what_was_planned_before_training(source: JobContext) -> None:
    make_plan(source.spec.values, "").write(source.folder)
    before = first_of(source.folder.read_json(PLAN))
    second = again("261122-cccc", source, Wish(passes=3))
    third = again("261123-dddd", second, Wish())
    for job in (second, third):
        plan = job.folder.read_json(PLAN)
        assert (plan["n"]["passes"], plan["first"]) == (3, before)


def test_an_adapter_from_elsewhere_stays_one_when_it_is_assessed_again(source: JobContext) -> None:
    make_plan(source.spec.values, "").write(source.folder)
    brought = again("261122-eeee", source, Wish(adapter="/x"), {"trained": SHA})
    third = again("261123-ffff", brought, Wish(passes=2), {"control": SHA[::-1]})
    plan = third.folder.read_json(PLAN)
    assert foreign(plan) == foreign(brought.folder.read_json(PLAN)) == SHA
    assert plan["models"] == ["baseline", "trained", "control"]
    own = again("261123-abcd", source, Wish(passes=2), {"control": SHA})
    assert foreign(own.folder.read_json(PLAN)) == ""


def test_own_prompts_come_on_top_of_the_same_scenarios_at_every_assessment(
    source: JobContext, tmp_path: Path
) -> None:
    prompts = tmp_path / "ours.txt"
    prompts.write_text("May I retire?\nShould I rent?\nWhat is an ETF?\n")
    wished = source.request.values.scenarios
    make_plan(source.spec.values, "").write(source.folder)
    second = again("261122-1111", source, Wish(prompts_file=str(prompts)))
    third = again("261123-2222", second, Wish(passes=2))
    asked = [job.folder.read_jsonl(SCENARIOS) for job in (second, third)]
    assert [len(rows) for rows in asked] == [wished + 3, wished + 3]
    assert asked[0] == asked[1]
    questions = [len(job.folder.read_jsonl(QUESTIONS)) for job in (second, third)]
    assert questions == [source.request.values.questions] * 2
