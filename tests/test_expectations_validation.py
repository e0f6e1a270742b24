"""validate_file: files that are valid, limits and filters."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import training_files as tf
from training_files import EQ12, needs_eq12
from validated import errors

from brightrun.conversations import Defect
from brightrun.errors import DatasetError
from expectations.dataset_report import dataset_tables
from expectations.runner import Runner
from expectations.validation import validate_file

Json = dict[str, Any]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


@needs_eq12
@pytest.mark.parametrize(("ending", "counts"), [(".json", (12, 89, 44)), (".jsonl", (12, 44, 44))])
def test_the_real_sample_is_valid(
    ending: str, counts: tuple[int, int, int], runner: Runner
) -> None:
    path = EQ12.with_suffix(ending)
    report = validate_file(path, runner=runner)
    assert (report.errors, report.warnings) == ((), ())
    assert report.valid
    assert (report.conversations, report.pairs, report.supervised_pairs) == counts
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.arcs == {"confusion_to_clarity": 9, "crisis_to_referral": 3}
    assert report.longest == max(row.tokens for row in report.rows)


@needs_eq12
def test_both_forms_of_the_real_sample_hold_the_same_training_text(runner: Runner) -> None:
    one, other = (validate_file(EQ12.with_suffix(e), runner=runner) for e in (".json", ".jsonl"))
    facts = [[(r.tokens, r.supervised_tokens, r.characters) for r in x.rows] for x in (one, other)]
    assert facts[0] == facts[1]
    assert one.system_prompt == other.system_prompt


def test_an_unanswered_last_client_turn_is_valid_and_costs_no_tokens(
    tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document(1, 4)
    four = validate_file(tf.write_json(tmp_path / "four.json", doc), runner=runner)
    doc["conversations"] = [tf.conversation(1, 5)]
    five = validate_file(tf.write_json(tmp_path / "five.json", tf.counted(doc)), runner=runner)
    assert four.valid
    assert five.valid
    assert five.tokens == four.tokens
    assert five.pairs == 5


def test_the_order_of_the_top_level_keys_does_not_matter(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document()
    turned = {key: doc[key] for key in reversed(doc)}
    assert validate_file(tf.write_json(tmp_path / "x.json", turned), runner=runner).valid
    turned["training_file_metadata"]["total_conversations"] = 9
    report = validate_file(tf.write_json(tmp_path / "x.json", turned), runner=runner)
    assert errors(report) == ["total_conversations_wrong"]


def test_a_byte_order_mark_is_no_defect(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document()
    for name, data in (
        ("x.json", json.dumps(doc)),
        ("x.jsonl", "\n".join(json.dumps(row) for row in tf.jsonl_rows(doc))),
    ):
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + data.encode())
        assert validate_file(path, runner=runner).valid


def test_client_turns_in_a_jsonl_file_are_accepted(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document()
    rows = tf.jsonl_rows(doc)[:1] + [
        {**pair, "conversation_id": one["conversation_metadata"]["conversation_id"]}
        for one in doc["conversations"]
        for pair in one["training_pairs"]
    ]
    report = validate_file(tf.write_jsonl(tmp_path / "x.jsonl", rows), runner=runner)
    assert report.valid
    assert (report.pairs, report.supervised_pairs) == (12, 6)


def test_a_missing_file_is_refused_by_name(tmp_path: Path, runner: Runner) -> None:
    with pytest.raises(DatasetError, match=r"gone\.json"):
        validate_file(tmp_path / "gone.json", runner=runner)
    with pytest.raises(DatasetError, match="directory"):
        validate_file(tmp_path, runner=runner)


def test_progress_ends_at_the_file_s_size(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "x.json"
    tf.write_large(path, size=400_000)
    seen: list[tuple[int, int]] = []
    validate_file(path, runner=runner, progress=lambda done, total: seen.append((done, total)))
    size = path.stat().st_size
    assert seen[-1] == (size, size)
    assert seen == sorted(seen)
    assert len(seen) > 2


def test_the_summary_is_json(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document()
    doc["conversations"][0]["training_pairs"][1]["target_response"] = None
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    summary = json.loads(json.dumps(report.summary()))
    assert set(summary) == {
        "valid", "conversations", "pairs", "supervised_pairs", "errors", "warnings", "notes",
    }  # fmt: skip
    assert Defect.model_validate(summary["errors"][0]) == report.errors[0]


def test_the_dataset_table_shows_what_the_report_holds(tmp_path: Path, runner: Runner) -> None:
    report = validate_file(tf.write_json(tmp_path / "x.json", tf.document()), runner=runner)
    cells = {row[0]: row[1] for row in dataset_tables(report).rows}
    assert cells["Conversations"] == 3
    assert cells["Supervised pairs"] == 6
    assert cells["Tokens in the file (about: characters / 4.66)"] == report.tokens


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_conversation_longer_than_the_limit_is_refused_not_cut(
    kind: str, tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    doc["conversations"][1] = tf.conversation(2, 4, length=80)
    path = tf.write(tmp_path / f"x.{kind}", doc)
    report = validate_file(path, runner=runner, max_length=1024)
    assert [(d.code, d.conversation) for d in report.errors] == [("too_long", 2)]
    assert str(report.longest) in report.errors[0].message
    assert validate_file(path, runner=runner, max_length=report.longest).valid


def test_a_quality_filter_that_leaves_nothing_says_what_would(
    tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    for path in [tf.write(tmp_path / name, doc) for name in ("x.json", "x.jsonl")]:
        report = validate_file(path, runner=runner, quality_min=3.5)
        assert errors(report) == ["quality_filter_leaves_nothing"]
        assert "at least 3.5: the best is 3" in report.errors[0].message
        assert validate_file(path, runner=runner, quality_min=3).supervised_pairs == 6


def test_a_quality_filter_leaves_the_poor_answers_as_context(
    tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    doc["conversations"][0]["training_pairs"][1]["training_metadata"]["quality_score"] = 2
    path = tf.write_json(tmp_path / "x.json", doc)
    all_, good = (validate_file(path, runner=runner, quality_min=q) for q in (None, 3.0))
    assert (all_.supervised_pairs, good.supervised_pairs) == (6, 5)
    assert good.tokens == all_.tokens
    assert good.supervised_tokens < all_.supervised_tokens


def test_all_defects_are_told_at_once(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document(8, 6)
    pairs = [one["training_pairs"] for one in doc["conversations"]]
    pairs[0][1]["target_response"] = None
    del pairs[1][2]["system_prompt"]
    pairs[2][3]["target_response"] = ""
    pairs[3][5]["conversation_history"][0]["role"] = "assistant"
    pairs[4][0]["target_response"] = "?"
    pairs[5][3]["target_response"] += "\ufffd"
    doc["training_file_metadata"]["total_conversations"] = 1
    doc["training_file_metadata"]["format_spec"] = "x"
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    assert {(d.code, d.conversation) for d in report.errors} == {
        ("null_on_advisor_turn", 1),
        ("missing_key", 2),
        ("blank_target", 3),
        ("roles_not_alternating", 4),
        ("target_on_client_turn", 5),
        ("damaged_text", 6),
        ("history_contradicts", 6),
        ("total_conversations_wrong", None),
        ("wrong_format", None),
    }


@pytest.mark.parametrize("gap", [False, True])
def test_one_slip_in_the_numbers_is_told_once(tmp_path: Path, runner: Runner, *, gap: bool) -> None:
    doc = tf.document(3, 8)
    pairs = doc["conversations"][1]["training_pairs"]
    if gap:
        del pairs[3]
        tf.counted(doc)
    else:
        pairs[3]["turn_number"] = 9
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    (told,) = [d for d in report.errors if "must stand" in d.message]
    wrong, right = (5, 4) if gap else (9, 4)
    assert f"turn {wrong} stands where turn {right} must stand" in told.message
