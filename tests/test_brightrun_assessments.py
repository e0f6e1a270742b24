"""The wish to assess a finished adapter again, and what is carried over instead of measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from brightrun.assessments import Wish, named, request_of
from brightrun.baselines import MACHINE
from brightrun.durations import Work
from brightrun.errors import UsageError
from brightrun.jobs import PRESETS, Confirm, JobRequest, Overrides, Preset
from brightrun.quotes import only_measuring
from brightrun.runfolder import RunFolder
from evals import carrying
from evals.harness import HarnessItem
from evals.own import Asked, asked
from evals.plan import make_plan

DEMO = PRESETS[Preset.demo].values


def test_an_assessment_keeps_the_job_and_changes_what_was_asked_for() -> None:
    before = JobRequest(
        training_file="f.json", base_model="tiny", overrides=Overrides(epochs=1),
        questions_file="q.jsonl", interrupt_at=(3,), confirm=Confirm.always,
        lm_eval_tasks="arc_easy",
    )  # fmt: skip
    made = request_of(before, "job-1", Wish(prompts_file="p.txt", passes=5, by="Ann"))
    assert (made.assesses, made.base_model, made.requested_by) == ("job-1", "tiny", "Ann")
    assert (made.questions_file, made.prompts_file) == ("q.jsonl", "p.txt")
    assert made.tested_with["lm_eval"] == "arc_easy"
    assert (made.values.epochs, made.values.passes) == (1, 5)
    assert made.interrupt_at == ()


@pytest.mark.parametrize(
    "beside", [("control",), ("control=",), ("a=x", "a=y"), ("trained=x",), ("A=x",)]
)
def test_what_is_no_name_and_place_is_refused(beside: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        named(beside)


def planned(root: Path, job_id: str, tested: Asked | None = None, **values: int) -> RunFolder:
    folder = RunFolder(root.as_uri(), job_id)
    make_plan(DEMO.model_copy(update=values), "Be kind.", tested=tested).write(folder)
    return folder


def measured(root: Path) -> RunFolder:
    folder = planned(root, "first")
    sides = ("baseline", "trained")
    ids = {
        "likelihood": ("conversation_id", ["c1", "c2"]),
        "neutral": ("text_id", [r["text_id"] for r in folder.read_jsonl("plan/neutral.jsonl")]),
        "knowledge": ("question_id", [f"Q{n:03d}" for n in range(1, 26)]),
        "option_text": ("question_id", [f"Q{n:03d}" for n in range(1, 26)]),
        "answers": ("scenario_id", [f"S{n:02d}" for n in range(1, 13)]),
    }
    for kind, (key, names) in ids.items():
        rows = [{"model": m, key: n, "rotation": 0, "pass": 1} for m in sides for n in names]
        folder.write_jsonl(f"measurements/{kind}.jsonl", rows)
    return folder


def test_what_was_asked_in_the_same_words_is_not_measured_again(tmp_path: Path) -> None:
    first = measured(tmp_path)
    ours = asked(12, 25)
    changed = ours.scenarios[0].model_copy(update={"client_message": "In other words."})
    tested = Asked((changed, *ours.scenarios[1:]), ours.questions)
    first.write_json(MACHINE, {"threads": 2})
    second = planned(tmp_path, "second", tested)
    counts = carrying.carry_over(first, second, ("baseline", "trained"))
    assert counts == {
        "likelihood": 4, "neutral": 16, "knowledge": 50, "option_text": 50, "answers": 22,
    }  # fmt: skip
    assert carrying.left(second, 2) == {
        "likelihood": 0, "neutral": 0, "knowledge": 0, "option_text": 0, "answers": 2,
    }  # fmt: skip
    assert second.read_json(MACHINE) == {"threads": 2}  # the pod compares it with its own


def test_items_of_lm_evals_tasks_are_not_measured_again(tmp_path: Path) -> None:
    def item(number: int) -> HarnessItem:
        pairs = (("Q", " a"), ("Q", f" b{number}"))
        return HarnessItem(
            item_id=f"t/{number}", task="t", requests=pairs, right=(0,), lengths=(1, 1)
        )

    ours = asked(12, 25)
    given = (ours.scenarios, ours.questions, ("harness.jsonl",))
    first = planned(tmp_path, "first", Asked(*given, (item(0), item(1))))
    rows = [{"model": m, "item_id": f"t/{n}"} for m in ("baseline", "trained") for n in range(2)]
    first.write_jsonl("measurements/harness.jsonl", rows)
    second = planned(tmp_path, "second", Asked(*given, (item(0), item(1), item(2))))
    assert carrying.carry_over(first, second, ("baseline", "trained"))["harness"] == 4
    assert carrying.left(second, 2)["harness"] == 2


def test_another_decoding_asks_every_answer_again(tmp_path: Path) -> None:
    first = measured(tmp_path)
    second = planned(tmp_path, "second", max_new_tokens=97)
    assert carrying.carry_over(first, second, ("baseline",))["answers"] == 0
    assert carrying.left(second, 2)["answers"] == 24


def test_an_assessment_is_paid_for_what_is_left_only() -> None:
    work = Work(
        train_tokens=9000, sum_squared_tokens=9, supervised_tokens=9, sequences=9, longest=9,
        epochs=2, steps=9, validation_tokens=700, evaluations=3, scenarios=50, passes=3,
        questions=100, rotations=4, max_new_tokens=100, neutral_tokens=1900,
    )  # fmt: skip
    none = dict.fromkeys(("likelihood", "neutral", "knowledge", "option_text", "answers"), 0)
    found = only_measuring(work, {**none, "answers": 12}, 2)
    assert (found.scenarios, found.questions, found.validation_tokens) == (2, 0, 0)
    assert (found.steps, found.micro_steps, found.generated_tokens) == (0, 0, 2 * 2 * 3 * 100)
    tasks = replace(work, harness_tokens=500)
    assert only_measuring(tasks, none, 2).harness_tokens == 0
    assert only_measuring(tasks, {**none, "harness": 7}, 2).harness_tokens == 500
    third = only_measuring(work, {**none, "knowledge": 400, "likelihood": 3}, 3)
    assert (third.questions, third.models, third.validation_tokens) == (34, 3, 700)
