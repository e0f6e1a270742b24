"""assess(): from a measured run folder to verdicts, on synthetic measurements."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from assessed_jobs import COLD, LEXICONS, WARM, Job, lay_out, verdict

from brightrun.errors import EvaluationError
from brightrun.jobs import Hyperparameters
from brightrun.verdicts import Evaluation
from evals import contamination
from evals.harness import HarnessItem
from evals.markers import LABELS
from evals.own import Asked, asked
from evals.plan import PLAN, make_plan
from evals.planned import first_of, stamped


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "data")


@pytest.fixture
def job(tmp_path: Path, data: Path) -> Job:
    return Job(tmp_path, data)


def test_a_clear_improvement_passes_what_was_measured_and_claims_nothing_else(job: Job) -> None:
    result = job.measure().assess()
    assert [v.metric for v in result.verdicts][:3] == [
        "perplexity",
        "emotional_intelligence",
        "knowledge_retention",
    ]
    perplexity = verdict(result, "perplexity")
    assert perplexity.target_met == "pass"
    assert perplexity.improved is True
    assert perplexity.n_clusters == 12
    assert perplexity.n == sum(100 + 10 * i for i in range(12))
    assert perplexity.estimate == pytest.approx(math.exp(-0.6) - 1, abs=0.03)
    assert perplexity.baseline == pytest.approx(math.exp(3.0))
    safety = verdict(result, "safety")
    assert (safety.n, safety.trained, safety.baseline) == (4, 1.0, 0.0)
    voice = verdict(result, "brand_voice")
    assert (voice.target_met, voice.improved, voice.evidence) == ("not_measured", True, "marker")
    assert verdict(result, "marker_index").improved is True
    ei = verdict(result, "emotional_intelligence")
    assert (ei.target_met, ei.n, ei.evidence, ei.target) == ("not_measured", 0, "human", 0.40)


def test_truncated_answers_and_seconds_are_reported_per_model(job: Job) -> None:
    facts = job.measure().assess().facts
    assert facts["answers"]["trained"]["truncated"] == 1
    assert facts["answers"]["trained"]["truncated_or_looping"] >= 1
    assert facts["answers"]["baseline"]["seconds_mean"] == pytest.approx(8.5)


def test_each_characteristic_of_the_index_has_its_change_with_an_interval(job: Job) -> None:
    parts = job.measure().assess().facts["voice_parts"]
    assert len(parts) == 8
    for part in parts.values():
        assert part["change"] == pytest.approx(part["trained"] - part["baseline"])
        assert part["change_low"] <= part["change"] <= part["change_high"]


def test_seconds_of_several_pods_do_not_pass_as_one_machines(job: Job) -> None:
    def resumed(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            attempt = 1 if row["batch"].endswith(".1") else 2
            earlier = row["model"] == "baseline" and row["batch"].endswith(".0")
            row["batch"] = f"{'job-0' if earlier else 'job-1'}/{attempt}/{row['batch']}"

    job.measure().edit("measurements/answers.jsonl", resumed)
    result = job.assess()
    assert {side["seconds_of"] for side in result.facts["answers"].values()} == {"mixed"}
    assert result.comparison is not None
    (speed,) = (row for row in result.comparison.rows if "seconds" in row[1])
    assert speed[1] == "seconds per token, in batches, mixed"
    assert job.measure().assess().facts["answers"]["trained"]["seconds_of"] == ""


def test_identical_models_differ_by_zero_and_never_pass(job: Job) -> None:
    result = job.measure(drop=0.0, same_answers=True).assess()
    for name in ("perplexity", "brand_voice", "marker_index"):
        found = verdict(result, name)
        assert found.estimate == 0
        assert found.ci_low is not None
        assert found.ci_low <= 0 <= (found.ci_high or 0)
    assert verdict(result, "knowledge_retention").estimate == 1
    for found in result.verdicts:
        assert found.target_met != "pass", found.metric
        assert found.improved is not True
    assert "NaN" not in result.model_dump_json()


def test_swapped_labels_turn_an_improvement_r_into_its_inverse(job: Job) -> None:
    first = verdict(job.measure().assess(), "perplexity")

    def swap(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["model"] = {"baseline": "trained", "trained": "baseline"}[row["model"]]

    second = verdict(job.edit("measurements/likelihood.jsonl", swap).assess(), "perplexity")
    assert first.estimate is not None
    assert first.ci_low is not None
    assert second.estimate == pytest.approx(1 / (1 + first.estimate) - 1)
    assert second.ci_high == pytest.approx(1 / (1 + first.ci_low) - 1)
    assert second.target_met == "fail"


def test_the_same_measurements_give_the_same_bytes_in_any_row_order(job: Job) -> None:
    first = job.measure().assess().model_dump_json()
    for name in ("likelihood", "knowledge", "answers"):
        job.edit(f"measurements/{name}.jsonl", lambda rows: rows.reverse())
    assert job.assess().model_dump_json() == first


def test_lost_questions_are_listed_with_right_and_chosen_option(job: Job) -> None:
    result = job.measure(wrong=6).assess()
    assert len(result.lost_questions.rows) == 6
    assert result.lost_questions.rows[0] == ("Q004", "retirement", "Question 4?", "a4", "b4", True)
    retention = verdict(result, "knowledge_retention")
    assert (retention.n, retention.baseline) == (40, 0.9)
    assert retention.estimate == pytest.approx(30 / 36)
    assert retention.target_met == "fail"
    assert result.facts["knowledge"]["outside_headline"] == 4


def test_few_questions_cannot_prove_retention_although_none_was_lost(job: Job) -> None:
    job.measure()

    def nudge(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["model"] == "trained":
                row["logprobs"] = [x - 0.01 * (x < -1) for x in row["logprobs"]]

    found = verdict(job.edit("measurements/knowledge.jsonl", nudge).assess(), "knowledge_retention")
    assert found.estimate == 1
    assert found.target_met == "inconclusive"
    assert found.n_needed is not None
    assert found.n_needed > 40


def test_passes_of_a_scenario_are_one_cluster(tmp_path: Path, data: Path) -> None:
    result = Job(tmp_path, data, passes=3).measure().assess()
    voice = verdict(result, "brand_voice")
    assert (voice.n, voice.n_clusters) == (48, 16)
    assert result.facts["decoding"]["do_sample"] is True
    assert len({e.scenario_id for e in result.examples}) == len(result.examples)


def test_four_held_out_conversations_stay_inconclusive(tmp_path: Path, data: Path) -> None:
    found = verdict(Job(tmp_path, data, conversations=4).measure().assess(), "perplexity")
    assert (found.target_met, found.improved) == ("inconclusive", None)
    assert "Only 4 held-out conversations" in found.note


def test_one_failed_safety_item_fails_the_gate(job: Job) -> None:
    job.measure()

    def spoil(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["model"] == "trained" and row["scenario_id"] == "S01":
                row["text"] = "You don't need 988. I can help with that."

    result = job.edit("measurements/answers.jsonl", spoil).assess()
    assert verdict(result, "safety").target_met == "fail"
    failed = [row for row in result.safety.rows if row[4] is False]
    assert [row[0] for row in failed] == ["S01"]
    assert any(e.scenario_id == "S01" and e.why == "safety" for e in result.examples)


def test_ten_or_more_examples_show_losses_too(job: Job) -> None:
    job.measure()

    def worsen(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["scenario_id"] == "S00":
                row["text"] = COLD if row["model"] == "trained" else WARM

    examples = job.edit("measurements/answers.jsonl", worsen).assess().examples
    assert len(examples) >= 10
    assert len({e.scenario_id for e in examples}) == len(examples)
    assert {e.why for e in examples} >= {"best", "worst", "random", "safety"}
    loss = next(e for e in examples if e.scenario_id == "S00")
    assert loss.why == "worst"
    assert "a loss" in loss.notes[0]
    assert any("cut off" in note for note in loss.notes)


def test_what_is_withdrawn_makes_no_example_better_or_worse(job: Job) -> None:
    before = [example.notes for example in job.measure().assess().examples]
    assert any("(better)" in line for notes in before for line in notes)
    alike = {"gold": WARM, "neutral": f"{WARM} Day 3."}  # no marker tells gold from its rewrite
    (job.data / "rewrites.jsonl").write_text(json.dumps(alike) + "\n")
    result = job.assess()
    gone = result.facts["withdrawn_markers"]
    assert {"voice_index", "emotion_words"} <= set(gone)
    assert {example.why for example in result.examples} == {"random", "safety"}
    assert "withdrawn" in result.facts["examples_rule"]
    assert len(result.examples) >= 10
    for part in result.facts["voice_parts"].values():
        assert set(part) == {"baseline", "trained", "gold"}
    assert verdict(result, "brand_voice").proves_nothing.startswith("Withdrawn: the index")
    assert verdict(result, "brand_voice").estimate is None
    after = [example.notes for example in result.examples]
    assert all(notes[0].endswith("(withdrawn)") for notes in after)
    told = " ".join(line for notes in after for line in notes)
    assert not any(LABELS[name] in told for name in LABELS if name in gone)


def test_lexicons_changed_after_the_plan_make_the_markers_exploratory(job: Job) -> None:
    path = job.data / "lexicons.json"
    path.write_text(json.dumps({**LEXICONS, "emotion_words": ["scared"]}))
    result = job.measure().assess()
    assert result.facts["exploratory"] == ["lexicons.json"]
    assert verdict(result, "brand_voice").note.startswith("Exploratory")
    assert not verdict(result, "perplexity").note.startswith("Exploratory")


PLANNED = {"scenarios": 16, "questions": 44, "passes": 1}
ANSWERED = {"brand_voice", "marker_index", "safety", "emotional_intelligence"}


@pytest.mark.parametrize(
    ("before", "outside"),
    [
        ({}, set()),
        ({"scenarios": 12}, ANSWERED),
        ({"questions": 40}, {"knowledge_retention"}),
        ({"rotations": 2}, {"knowledge_retention"}),
        ({"passes": 2}, ANSWERED),
    ],
)
def test_what_was_chosen_after_training_is_exploratory(
    tmp_path: Path, data: Path, before: dict[str, int], outside: set[str]
) -> None:
    values = Hyperparameters.model_validate({**PLANNED, **before})
    written = make_plan(values, "Be kind.", data=data).files()[PLAN]
    first = first_of(json.loads(written))
    result = Job(tmp_path, data, first=first).measure().assess()
    assert {v.metric.value for v in result.verdicts if v.exploratory} == outside
    told = {measure.partition(",")[0] for _, measure in exploratory(result)}
    asked_later, answered_later = "knowledge_retention" in outside, outside == ANSWERED
    assert ("accuracy" in told, "tokens per answer" in told) == (asked_later, answered_later)
    assert "perplexity" not in told


def test_of_an_adapter_from_elsewhere_everything_is_exploratory_and_nothing_memorised(
    tmp_path: Path, data: Path
) -> None:
    made = Job(tmp_path, data, others={"trained": "ab12" * 16})
    own = Job(tmp_path / "own", data)
    for some in (made, own):
        some.measure()
        turn = {"role": "assistant", "content": "Breathe first."}
        some.folder.write_jsonl("data/train.jsonl", [{"conversation_id": "c1", "messages": [turn]}])
        some.folder.write_json(contamination.PLACE, {"closest": [], "turns": 1, "items": 0})
    result, known = made.assess(), own.assess()
    assert (result.contamination, result.data_feedback) == (None, None)
    assert "data_feedback" not in result.facts
    assert None not in (known.contamination, known.data_feedback)
    assert all(v.exploratory for v in result.verdicts)
    assert "comes from elsewhere" in verdict(result, "perplexity").note
    assert result.foreign
    assert result.comparison is not None
    assert len(exploratory(result)) == len(result.comparison.rows)
    plan = made.folder.read_json(PLAN)
    assert (plan["n"]["probe"], plan["n"]["influence"], plan["models"]) == (
        0, 0, ["baseline", "trained"],
    )  # fmt: skip
    assert own.folder.read_json(PLAN)["n"]["probe"] > 0
    assert not known.foreign


def exploratory(result: Evaluation) -> set[tuple[str, str]]:
    """(model, measure) of the rows of the models' table that no plan held; its caption says so."""
    assert result.comparison is not None
    stamp = ", exploratory"
    found = {(str(row[0]), str(row[1]).removesuffix(stamp)) for row in result.comparison.rows
             if str(row[1]).endswith(stamp)}  # fmt: skip
    assert ("Exploratory: not in the plan" in result.comparison.caption) == bool(found)
    return found


def test_a_third_plan_is_held_against_the_one_before_training_and_its_targets(job: Job) -> None:
    first = first_of(job.folder.read_json(PLAN))
    second = {"first": first, "targets": {**first["targets"], "perplexity": -0.01}}
    assert first_of(second) == first
    found = verdict(job.measure().assess(), "perplexity")
    assert stamped(found, set(), first) == found
    assert stamped(found, set(), second).note.startswith("Exploratory: its target was set")


def test_no_note_or_label_prints_a_score_out_of_five(job: Job) -> None:
    result = job.measure().assess()
    told = [v.note for v in result.verdicts] + [n for e in result.examples for n in e.notes]
    told += [str(row[0]) for row in result.markers.rows]
    assert not any("/5" in text or "out of 5" in text for text in told)


def test_forgetting_option_texts_and_speed_stand_in_one_table_with_intervals(job: Job) -> None:
    result = job.measure(wrong=3).assess()
    assert result.comparison is not None
    rows = {row[1]: row for row in result.comparison.rows}
    neutral = rows["perplexity, neutral text (forgetting)"]
    assert neutral[2] == 6
    assert neutral[5] == pytest.approx(math.exp(5 / 50) - 1)
    assert result.facts["forgetting"]["change"] == neutral[5]
    texts, letters = rows["accuracy, option texts"], rows["accuracy, option letters"]
    assert texts[3:5] == letters[3:5] == (pytest.approx(36 / 40), pytest.approx(33 / 40))
    speed = rows["seconds per token, in batches"]
    assert (speed[2], speed[5], speed[6], speed[7]) == (4, 0, 0, 0)


def test_the_share_of_answers_cut_has_an_interval_over_scenarios_not_passes(
    tmp_path: Path, data: Path
) -> None:
    def cut(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["model"] == "trained" and row["scenario_id"] in ("S01", "S02", "S03", "S04"):
                row["finish_reason"] = "length"

    job = Job(tmp_path, data, passes=2).measure()
    result = job.edit("measurements/answers.jsonl", cut).assess()
    assert result.comparison is not None
    rows = {row[1]: row for row in result.comparison.rows}
    found = rows["share of answers cut at the token limit"]
    assert found[2:6] == (16, 1 / 16, 5 / 16, 4 / 16)
    # t(15) = 2.131, the standard deviation of 4 ones and 12 zeros is 0.4472.
    assert found[6:] == pytest.approx((0.25 - 2.131 * 0.1118, 0.25 + 2.131 * 0.1118), abs=1e-3)
    assert all(None not in row for row in result.comparison.rows)
    assert "measured on the models" in result.comparison.caption


def test_a_task_of_lm_eval_stands_in_the_same_table(job: Job, data: Path) -> None:
    items = tuple(
        HarnessItem(
            item_id=f"ours/{n}", task="ours", requests=(("Q", " a"), ("Q", " b")), right=(0,),
            lengths=(1, 1),
        )
        for n in range(8)
    )  # fmt: skip
    ours = asked(16, 44, data=data)
    tested = Asked(ours.scenarios, ours.questions, ("harness.jsonl",), items)
    tested.write(job.folder)
    plan = make_plan(job.values, "Be kind.", data=data, tested=tested)
    job.spec = job.spec.model_copy(update={"plan_sha256": plan.write(job.folder)})
    job.measure()
    with pytest.raises(EvaluationError, match=r"harness.jsonl: 16 of 16 measurements are missing"):
        job.assess()
    rows = [
        {"model": m, "item_id": f"ours/{n}", "logprobs": [-1.0, -2.0 if right else -0.5]}
        for n in range(8)
        for m, right in (("baseline", n < 4), ("trained", n < 6))
    ]
    job.folder.write_jsonl("measurements/harness.jsonl", rows)
    result = job.assess()
    assert result.comparison is not None
    (found,) = (row for row in result.comparison.rows if "lm-eval" in str(row[1]))
    assert found[:6] == ("trained", "accuracy, lm-eval ours", 8, 0.5, 0.75, 0.25)
    assert isinstance(found[6], float)
    assert isinstance(found[7], float)
    assert found[6] < 0 < 0.25 < found[7]
    first = make_plan(job.values, "Be kind.", data=data).files()[PLAN]
    chosen_later = make_plan(
        job.values, "Be kind.", data=data, tested=tested, first=first_of(json.loads(first))
    )
    job.spec = job.spec.model_copy(update={"plan_sha256": chosen_later.write(job.folder)})
    assert exploratory(job.assess()) == {("trained", "accuracy, lm-eval ours")}
    job.edit("measurements/harness.jsonl", lambda rows: rows[3]["logprobs"].append(-9.0))
    with pytest.raises(EvaluationError, match="1 of 16"):
        job.assess()


def test_a_third_model_is_measured_against_the_baseline_too(job: Job, data: Path) -> None:
    plan = make_plan(job.values, "Be kind.", data=data, others={"control": "f" * 64})
    job.spec = job.spec.model_copy(update={"plan_sha256": plan.write(job.folder)})
    job.measure()
    with pytest.raises(EvaluationError, match="control"):
        job.assess()
    for name in ("likelihood", "knowledge", "answers", "option_text", "neutral"):
        job.edit(
            f"measurements/{name}.jsonl",
            lambda rows: rows.extend(
                [{**row, "model": "control"} for row in rows if row["model"] == "baseline"]
            ),
        )
    result = job.assess()
    assert result.comparison is not None
    control = [row for row in result.comparison.rows if row[0] == "control"]
    assert len(control) == len(result.comparison.rows) / 2
    assert all(row[5] == 0 for row in control)
    assert result.facts["other_models"] == ["control"]
    assert exploratory(result) == set()  # it stands in the first plan
    first = make_plan(job.values, "Be kind.", data=data).files()[PLAN]
    added = make_plan(
        job.values, "Be kind.", data=data, others={"control": "f" * 64},
        first=first_of(json.loads(first)),
    )  # fmt: skip
    job.spec = job.spec.model_copy(update={"plan_sha256": added.write(job.folder)})
    result = job.assess()
    assert {model for model, _ in exploratory(result)} == {"control"}
    assert len(exploratory(result)) == len(control)
    assert result.facts["exploratory"] == ["model control"]
