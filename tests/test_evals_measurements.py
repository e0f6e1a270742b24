"""Measurements that are missing, doubled or of another plan are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from assessed_jobs import Job, lay_out

from brightrun.errors import EvaluationError, UsageError
from brightrun.modelnames import all_models


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "data")


@pytest.fixture
def job(tmp_path: Path, data: Path) -> Job:
    return Job(tmp_path, data)


@pytest.mark.parametrize("name", ["likelihood", "knowledge", "answers"])
def test_a_missing_measurement_is_an_error_that_names_it(job: Job, name: str) -> None:
    job.measure().edit(f"measurements/{name}.jsonl", lambda rows: rows.pop(3))
    with pytest.raises(EvaluationError, match=f"{name}.jsonl: 1 of .* missing"):
        job.assess()


def test_an_item_measured_twice_differently_is_an_error(job: Job) -> None:
    def double(rows: list[dict[str, Any]]) -> None:
        rows.append({**rows[0], "nll": rows[0]["nll"] + 1})

    job.measure().edit("measurements/likelihood.jsonl", double)
    with pytest.raises(EvaluationError, match="twice"):
        job.assess()


def test_a_changed_plan_is_refused(job: Job) -> None:
    job.measure()
    plan = job.folder.read_json("plan/plan.json")
    plan["targets"]["perplexity"] = -0.01
    job.folder.write_json("plan/plan.json", plan)
    with pytest.raises(EvaluationError, match="not the plan"):
        job.assess()


def test_changed_prompts_are_refused(job: Job) -> None:
    job.measure().edit("plan/scenarios.jsonl", lambda rows: rows.pop())
    with pytest.raises(EvaluationError, match="sha256 differs"):
        job.assess()


def test_a_reworded_question_contradicts_the_plan(job: Job) -> None:
    path = job.data / "questions.jsonl"
    path.write_text(path.read_text().replace("Question 7?", "Question seven?"))
    with pytest.raises(EvaluationError, match="Q007"):
        job.measure().assess()


def test_models_scored_on_different_tokens_are_refused(job: Job) -> None:
    def shorten(rows: list[dict[str, Any]]) -> None:
        rows[0]["tokens"] -= 1

    job.measure().edit("measurements/likelihood.jsonl", shorten)
    with pytest.raises(EvaluationError, match="different tokens"):
        job.assess()


@pytest.mark.parametrize("name", ["default", "gold", "trained", "A b", "", "../x", "x" * 40])
def test_what_is_no_models_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        all_models([name])
