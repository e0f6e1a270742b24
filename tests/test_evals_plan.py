"""The plan: hashed before training, without keys, repeatable; and the real data behind it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from brightrun.errors import EvaluationError
from brightrun.jobs import PRESETS, Hyperparameters, Preset
from brightrun.runfolder import RunFolder
from evals.plan import make_plan
from evals.sources import (
    DATA,
    load_lexicons,
    load_neutral,
    load_questions,
    load_scenarios,
    source_versions,
)

DEMO, FULL = (PRESETS[name].values for name in (Preset.demo, Preset.balanced))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path.as_uri(), "job-1")


def test_the_written_plan_hashes_its_own_files(folder: RunFolder) -> None:
    sha = make_plan(DEMO, "Be kind.").write(folder)
    assert hashlib.sha256(folder.read_bytes("plan/plan.json")).hexdigest() == sha
    for name, expected in folder.read_json("plan/plan.json")["files"].items():
        assert hashlib.sha256(folder.read_bytes(name)).hexdigest() == expected
    assert folder.names("plan") == [
        "golden.json",
        "neutral.jsonl",
        "plan.json",
        "questions.jsonl",
        "scenarios.jsonl",
    ]


def test_the_pod_sees_neither_keys_nor_expected_elements(folder: RunFolder) -> None:
    make_plan(DEMO, "Be kind.").write(folder)
    scenarios = folder.read_jsonl("plan/scenarios.jsonl")
    questions = folder.read_jsonl("plan/questions.jsonl")
    assert {tuple(row) for row in scenarios} == {("scenario_id", "messages")}
    assert {tuple(row) for row in questions} == {("question_id", "question", "options")}
    assert len(scenarios) == DEMO.scenarios
    assert len(questions) == DEMO.questions
    assert all([m["role"] for m in row["messages"]] == ["system", "user"] for row in scenarios)
    assert scenarios[0]["messages"][0]["content"] == "Be kind."


def test_golden_prompts_come_from_three_different_arcs() -> None:
    arcs = {s.scenario_id: s.arc for s in load_scenarios()}
    for values in (FULL, DEMO):
        prompts = make_plan(values, "Be kind.").golden["prompts"]
        assert len({arcs[p["id"]] for p in prompts}) == len(prompts) == 3
    long = DEMO.model_copy(update={"max_new_tokens": 512})
    assert len(make_plan(long, "Be kind.").golden["prompts"]) == long.golden_prompts == 1
    two = DEMO.model_copy(update={"scenarios": 2})
    assert len(make_plan(two, "Be kind.").golden["prompts"]) == two.golden_prompts == 2


def test_the_plan_is_the_same_twice_and_moves_with_what_matters(tmp_path: Path) -> None:
    first = make_plan(DEMO, "Be kind.")
    assert first.sha256 == make_plan(DEMO, "Be kind.").sha256
    assert first.sha256 != make_plan(DEMO, "Be brief.").sha256
    changed = DEMO.model_copy(update={"seed": DEMO.seed + 1})
    assert first.sha256 != make_plan(changed, "Be kind.").sha256


def test_a_foreign_adapter_in_the_trained_ones_place_is_pinned_by_its_hash() -> None:
    facts = make_plan(DEMO, "x", others={"trained": "a" * 64, "control": "b" * 64}).facts
    assert facts["models"] == ["baseline", "trained", "control"]
    assert facts["adapters"] == {"trained": "a" * 64, "control": "b" * 64}


def test_targets_and_counts_stand_in_the_plan() -> None:
    facts = make_plan(Hyperparameters(scenarios=1000, questions=10000), "x").facts
    assert facts["targets"]["perplexity"] == -0.30
    assert facts["targets"]["knowledge_retention"] == 0.95
    assert facts["n"]["scenarios"] == len(load_scenarios())
    assert facts["asked"] == {"scenarios": 1000, "questions": 10000}
    assert set(facts["sources"]) == set(source_versions())


def test_a_broken_source_line_is_located(tmp_path: Path) -> None:
    (tmp_path / "scenarios.jsonl").write_text('{"scenario_id": "S1"}\n')
    with pytest.raises(EvaluationError, match=r"scenarios\.jsonl line 1"):
        load_scenarios(tmp_path)
    row = json.dumps(
        {"question_id": "Q", "topic": "t", "question": "?", "options": list("abcd"), "answer": 0}
    )
    (tmp_path / "questions.jsonl").write_text(f"{row}\n{row}\n")
    with pytest.raises(EvaluationError, match="stands twice"):
        load_questions(tmp_path)
    (tmp_path / "lexicons.json").write_text('{"emotion_words": []}')
    with pytest.raises(EvaluationError, match="emotion_words"):
        load_lexicons(tmp_path)


def test_the_fifty_scenarios_have_the_promised_shape() -> None:
    scenarios = load_scenarios()
    assert Counter(s.arc for s in scenarios) == {
        "couple_conflict_to_alignment": 8,
        "confusion_to_clarity": 8,
        "overwhelm_to_empowerment": 7,
        "shame_to_acceptance": 7,
        "hostility_to_boundary": 5,
        "overwhelm_to_triage": 5,
        "crisis_to_referral": 5,
        "mixed": 5,
    }
    assert sorted(Counter(s.persona for s in scenarios).values()) == [16, 17, 17]
    assert {s.safety for s in scenarios[: DEMO.scenarios]} == {
        "none",
        "crisis",
        "hostility",
        "sadness_not_crisis",
    }
    assert all(5 <= len(s.expected_elements) <= 8 for s in scenarios)


def test_the_hundred_questions_are_balanced() -> None:
    questions = load_questions()
    assert Counter(q.topic for q in questions) == {"tax": 34, "retirement": 33, "investing": 33}
    assert set(Counter(q.answer for q in questions).values()) == {25}
    assert max(Counter(q.answer for q in questions[: DEMO.questions]).values()) <= 7
    assert all(not q.counts for q in questions if q.year is not None)
    assert all(len(set(q.options)) == 4 for q in questions)


def test_no_question_gives_its_key_away_by_length_or_form() -> None:
    questions = load_questions()
    right = [len(q.options[q.answer]) for q in questions]
    wrong = [len(o) for q in questions for n, o in enumerate(q.options) if n != q.answer]
    assert sum(right) / len(right) == pytest.approx(sum(wrong) / len(wrong), rel=0.05)
    longest = 0.0
    for q in questions:
        most = max(map(len, q.options))
        ties = [n for n, option in enumerate(q.options) if len(option) == most]
        longest += (q.answer in ties) / len(ties)
    assert 0.2 <= longest / len(questions) <= 0.3
    rows = (DATA / "questions.jsonl").read_text().splitlines()
    for row in map(json.loads, rows):
        assert not any("of the above" in option.lower() for option in row["options"])
        assert row["status"] == "draft"
        assert row["rationale"]
        assert row["difficulty"] in ("easy", "medium", "hard")
        assert row["year"] is None or not row["headline"]


def test_the_neutral_text_is_plain_prose_in_passages_of_one_size() -> None:
    passages = load_neutral()
    assert len({p.text_id for p in passages}) == len(passages) >= 20
    assert all(25 <= len(p.text.split()) <= 90 for p in passages)
    assert len(make_plan(DEMO, "Be kind.").neutral) < len(passages)


def test_lexicons_are_plain_lower_case_phrases() -> None:
    for name, phrases in load_lexicons():
        for phrase in phrases:
            assert phrase == phrase.lower().strip(), (name, phrase)
            assert "\u2019" not in phrase, (name, phrase)
        assert len(set(phrases)) == len(phrases), name
