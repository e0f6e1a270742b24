"""validate_file: real files, every broken file of the issue in JSON and JSONL, size and time."""

from __future__ import annotations

import copy
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import training_files as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brightrun.conversations import Defect, FileReport
from brightrun.errors import DatasetError
from expectations.dataset_report import dataset_tables
from expectations.runner import Runner
from expectations.validation import validate_file

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared/data/eq12/EQ-12-conversations-demo.json"
SECOND = "00000000-0000-0000-0000-000000000002"


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


def errors(report: FileReport) -> list[str]:
    return [defect.code for defect in report.errors]


def the(report: FileReport, code: str) -> Defect:
    found = [defect for defect in report.errors if defect.code == code]
    assert found, f"no {code} among {errors(report)}"
    return found[0]


# --- valid files -------------------------------------------------------------------------
@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not here")
@pytest.mark.parametrize(("ending", "counts"), [(".json", (12, 89, 44)), (".jsonl", (12, 44, 44))])
def test_the_real_sample_is_valid(
    ending: str, counts: tuple[int, int, int], runner: Runner
) -> None:
    path = REAL.with_suffix(ending)
    report = validate_file(path, runner=runner)
    assert (report.errors, report.warnings) == ((), ())
    assert report.valid
    assert (report.conversations, report.pairs, report.supervised_pairs) == counts
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.arcs == {"confusion_to_clarity": 9, "crisis_to_referral": 3}
    assert report.longest == max(row.tokens for row in report.rows)


@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not here")
def test_both_forms_of_the_real_sample_hold_the_same_training_text(runner: Runner) -> None:
    one, other = (validate_file(REAL.with_suffix(e), runner=runner) for e in (".json", ".jsonl"))
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
        "valid", "conversations", "pairs", "supervised_pairs", "errors", "warnings",
    }  # fmt: skip
    assert Defect.model_validate(summary["errors"][0]) == report.errors[0]


def test_the_dataset_table_shows_what_the_report_holds(tmp_path: Path, runner: Runner) -> None:
    report = validate_file(tf.write_json(tmp_path / "x.json", tf.document()), runner=runner)
    cells = {row[0]: row[1] for row in dataset_tables(report).rows}
    assert cells["Conversations"] == 3
    assert cells["Supervised pairs"] == 6
    assert cells["Tokens per epoch (about: characters / 4.66)"] == report.tokens


# --- broken files, as documents ----------------------------------------------------------
def turn(doc: Json, number: int) -> Json:
    """Turn `number` of conversation 2 (turns 1-4)."""
    found: Json = doc["conversations"][1]["training_pairs"][number - 1]
    return found


def drop(number: int, key: str) -> Callable[[Json], object]:
    return lambda doc: turn(doc, number).pop(key)


def put(number: int, key: str, value: object) -> Callable[[Json], object]:
    return lambda doc: turn(doc, number).__setitem__(key, value)


def remove_turn_two(doc: Json) -> None:
    del doc["conversations"][1]["training_pairs"][1]


def wrong_role(doc: Json) -> None:
    turn(doc, 4)["conversation_history"][1]["role"] = "user"


def changed_history(doc: Json) -> None:
    turn(doc, 4)["conversation_history"][1]["content"] = "Something else."


def twice(doc: Json) -> None:
    doc["conversations"].append(copy.deepcopy(doc["conversations"][1]))
    tf.counted(doc)


def same_input(doc: Json) -> None:
    turn(doc, 4)["current_user_input"] = "Other words."


# name: (change, code, turn) in JSON and, unless turn is None, in JSONL at the same turn
BROKEN: dict[str, tuple[Callable[[Json], object], str, int | None]] = {
    "missing answer": (drop(4, "target_response"), "missing_key", 4),
    "missing prompt": (drop(4, "system_prompt"), "missing_key", 4),
    "missing history": (drop(4, "conversation_history"), "missing_key", 4),
    "missing input": (drop(4, "current_user_input"), "missing_key", 4),
    "missing emotions": (drop(4, "emotional_context"), "missing_key", 4),
    "null on an even turn": (put(4, "target_response", None), "null_on_advisor_turn", 4),
    "blank target": (put(4, "target_response", " \n"), "blank_target", 4),
    "target is a number": (put(4, "target_response", 4), "wrong_type", 4),
    "target is a list": (put(4, "target_response", ["a"]), "wrong_type", 4),
    "history is null": (put(4, "conversation_history", None), "wrong_type", 4),
    "history holds null": (put(4, "conversation_history", [None]), "wrong_type", 4),
    "history holds a bare role": (
        put(4, "conversation_history", [{"role": "user"}]), "missing_key", 4,
    ),
    "metadata is null": (put(4, "conversation_metadata", None), "wrong_type", 4),
    "training metadata is a string": (put(4, "training_metadata", "x"), "wrong_type", 4),
    "quality is a string": (put(4, "training_metadata", {"quality_score": "3"}), "wrong_type", 4),
    "prompt is an object": (put(4, "system_prompt", {}), "wrong_type", 4),
    "empty system prompt": (put(4, "system_prompt", ""), "empty_system_prompt", 4),
    "roles not alternating": (wrong_role, "roles_not_alternating", 4),
    "history contradicts": (changed_history, "history_contradicts", 4),
    "history ends otherwise": (same_input, "history_end_differs", 4),
    "damaged character": (put(4, "target_response", "caf\ufffd"), "damaged_text", 4),
    "control character": (put(4, "target_response", "a\x00b"), "control_characters", 4),
    "half an emoji": (put(4, "target_response", "hurt \ud83d"), "damaged_text", 4),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["json", "jsonl"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_turn_is_found_and_located(
    name: str, kind: str, tmp_path: Path, runner: Runner
) -> None:
    change, code, number = BROKEN[name]
    doc = tf.document()
    path = tmp_path / f"x.{kind}"
    escaped = name == "half an emoji"  # JSON's escape is the only way to write it
    if kind == "json":
        change(doc)
        path.write_text(json.dumps(doc, ensure_ascii=escaped), encoding="utf-8")
    else:
        # Change the pair itself, so that it is written although it lost its target.
        rows = tf.jsonl_rows(doc)
        change(doc)
        rows[4] = {**turn(doc, 4), "conversation_id": SECOND}
        text = "".join(json.dumps(row, ensure_ascii=escaped) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
    report = validate_file(path, runner=runner)
    assert not report.valid
    assert set(errors(report)) == {code}
    found = the(report, code)
    pair, line = (8, None) if kind == "json" else (4, 5)
    place = (found.conversation, found.turn_number, found.pair, found.line)
    assert place == (2, number, pair, line)
    assert found.conversation_id == SECOND
    assert found.fix
    where = f"(conversation 2, turn {number}" + (f", line {line})" if line else ")")
    assert found.message.startswith(f"Training pair #{pair} {where}: ")


def test_the_message_reads_as_the_issue_asks(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document(8, 6)
    doc["conversations"][7]["training_pairs"][3].pop("target_response")
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    assert [d.message for d in report.errors] == [
        "Training pair #46 (conversation 8, turn 4): 'target_response' is missing"
    ]


def test_a_target_on_a_client_turn_is_refused(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document()
    turn(doc, 3)["target_response"] = "Not yet."
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    assert errors(report) == ["target_on_client_turn"]
    rows = tf.jsonl_rows(doc)  # it has a target, so an exporter would write it
    report = validate_file(tf.write_jsonl(tmp_path / "x.jsonl", rows), runner=runner)
    assert errors(report) == ["target_on_client_turn"]
    assert report.errors[0].line == 5


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_turn_gap_is_located_once(kind: str, tmp_path: Path, runner: Runner) -> None:
    doc = tf.document()
    remove_turn_two(doc)
    if kind == "json":
        path = tf.write_json(tmp_path / "x.json", tf.counted(doc))
        place = (6, 3, None)
    else:
        rows = tf.jsonl_rows(doc)
        path = tf.write_jsonl(tmp_path / "x.jsonl", rows)
        place = (3, 4, 4)
    report = validate_file(path, runner=runner)
    assert errors(report) == ["turn_gap"]
    assert (report.errors[0].pair, report.errors[0].turn_number, report.errors[0].line) == place


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_duplicate_conversation_is_refused(kind: str, tmp_path: Path, runner: Runner) -> None:
    doc = tf.document()
    twice(doc)
    path = tmp_path / f"x.{kind}"
    if kind == "json":
        tf.write_json(path, doc)
    else:
        tf.write_jsonl(path, tf.jsonl_rows(doc))
    report = validate_file(path, runner=runner)
    assert errors(report) == ["duplicate_conversation"]
    assert report.errors[0].conversation == 4
    assert "conversation 2" in report.errors[0].message


def test_a_conversation_that_stands_twice_in_a_row_in_jsonl_is_a_duplicate(
    tmp_path: Path, runner: Runner
) -> None:
    rows = tf.jsonl_rows(tf.document(1, 4))
    rows[0]["_meta"]["total_pairs"] = 8
    path = tf.write_jsonl(tmp_path / "x.jsonl", rows + rows[1:])
    assert errors(validate_file(path, runner=runner)) == ["duplicate_conversation"]


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("format_spec", "brightrun-lora-v3", "wrong_format"),
        ("format_spec", 4, "wrong_type"),
        ("format_spec", None, "wrong_type"),
        ("total_conversations", 4, "total_conversations_wrong"),
        ("total_conversations", "3", "wrong_type"),
        ("total_conversations", True, "wrong_type"),
        ("total_conversations", 10**30, "wrong_value"),
        ("total_training_pairs", 13, "total_pairs_wrong"),
        ("total_training_pairs", -1, "wrong_value"),
        ("total_training_pairs", 12.0, "wrong_type"),
    ],
)
def test_the_metadata_is_held_against_the_file(
    key: str, value: object, code: str, tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    doc["training_file_metadata"][key] = value
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    # Integers beyond 64 bit are refused by the JSON parser itself.
    assert errors(report) == ["not_json" if value == 10**30 else code]


@pytest.mark.parametrize("total", [5, 99])
def test_the_jsonl_total_is_held_against_its_bounds(
    total: int, tmp_path: Path, runner: Runner
) -> None:
    rows = tf.jsonl_rows(tf.document())
    for fits in (12, 15):  # up to three unanswered client turns are not written
        rows[0]["_meta"]["total_pairs"] = fits
        assert validate_file(tf.write_jsonl(tmp_path / "x.jsonl", rows), runner=runner).valid
    rows[0]["_meta"]["total_pairs"] = total
    report = validate_file(tf.write_jsonl(tmp_path / "x.jsonl", rows), runner=runner)
    assert errors(report) == ["total_pairs_wrong"]


def test_a_jsonl_file_of_another_version_is_refused(tmp_path: Path, runner: Runner) -> None:
    rows = tf.jsonl_rows(tf.document())
    rows[0]["_meta"]["version"] = "3.1.0"
    report = validate_file(tf.write_jsonl(tmp_path / "x.jsonl", rows), runner=runner)
    assert errors(report) == ["wrong_format"]
    del rows[0]["_meta"]["version"]
    report = validate_file(tf.write_jsonl(tmp_path / "x.jsonl", rows), runner=runner)
    assert errors(report) == ["missing_key"]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda d: d.pop("conversations"), "missing_key", "conversations"),
        (lambda d: d.update(conversations=None), "wrong_type", "conversations"),
        (lambda d: d.update(conversations={"a": 1}), "wrong_type", "conversations"),
        (lambda d: d.update(conversations="x"), "wrong_type", "conversations"),
        (lambda d: d.pop("training_file_metadata"), "missing_key", "training_file_metadata"),
        (lambda d: d.update(training_file_metadata=[]), "wrong_type", "training_file_metadata"),
    ],
)
def test_the_top_level_is_explained(
    change: Callable[[Json], object], code: str, field: str, tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    change(doc)
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    assert [(d.code, d.field) for d in report.errors] == [(code, field)]


@pytest.mark.parametrize("value", [None, [], {}, "x", 3, True])
def test_a_conversation_of_another_type_is_located(
    value: object, tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    doc["conversations"][1] = value
    doc["training_file_metadata"]["total_training_pairs"] = 8
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    assert {d.conversation for d in report.errors} == {2}


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_any_other_document_is_refused(value: object, tmp_path: Path, runner: Runner) -> None:
    report = validate_file(tf.write_json(tmp_path / "x.json", value), runner=runner)
    assert errors(report) == ["wrong_type"]
    report = validate_file(tf.write_json(tmp_path / "x.jsonl", value), runner=runner)
    assert errors(report) == ["wrong_type"]


# --- broken files, as bytes --------------------------------------------------------------
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("data", [b"", b" \n\n\t\n"])
def test_an_empty_file_says_so(ending: str, data: bytes, tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(data)
    assert errors(validate_file(path, runner=runner)) == ["empty_file"]


def test_a_truncated_json_file_says_where_and_keeps_what_is_whole(
    tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    doc["conversations"][0]["training_pairs"][1]["target_response"] = ""
    data = json.dumps(doc, indent=1).encode()
    path = tmp_path / "x.json"
    path.write_bytes(data[: data.rindex(b"Advisor 3.4") + 3])
    report = validate_file(path, runner=runner)
    assert errors(report) == ["truncated", "blank_target"] or errors(report) == [
        "blank_target", "truncated",
    ]  # fmt: skip
    assert the(report, "truncated").conversation == 3
    assert the(report, "truncated").line == data[: path.stat().st_size].count(b"\n") + 1
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_truncated_jsonl_file_says_which_line(tmp_path: Path, runner: Runner) -> None:
    path = tf.write_jsonl(tmp_path / "x.jsonl", tf.jsonl_rows(tf.document()))
    path.write_bytes(path.read_bytes()[:-40])
    report = validate_file(path, runner=runner)
    assert [(d.code, d.line) for d in report.errors] == [("truncated", 7)]


def test_a_jsonl_file_cut_between_two_lines_is_noticed(tmp_path: Path, runner: Runner) -> None:
    rows = tf.jsonl_rows(tf.document(5, 4))
    report = validate_file(tf.write_jsonl(tmp_path / "x.jsonl", rows[:-4]), runner=runner)
    assert errors(report) == ["total_pairs_wrong"]


def test_a_syntax_error_is_located_by_line_and_column(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "x.json"
    tf.write_large(path, turns=200)
    data = path.read_bytes()
    at = data.index(b'"turn_number": 3', len(data) * 3 // 4)
    path.write_bytes(data[:at] + b"oops " + data[at:])
    report = validate_file(path, runner=runner)
    found = the(report, "not_json")
    line = data[:at].count(b"\n") + 1
    column = at - data.rindex(b"\n", 0, at)
    assert (found.line, f"Line {line}, column {column}:") == (line, found.message.split(" not")[0])
    assert report.conversations > 10
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_jsonl_syntax_error_does_not_hide_the_others(tmp_path: Path, runner: Runner) -> None:
    rows = tf.jsonl_rows(tf.document())
    rows[6]["target_response"] = ""
    path = tf.write_jsonl(tmp_path / "x.jsonl", rows)
    lines = path.read_bytes().split(b"\n")
    lines[3] = lines[3][:50]
    lines[5] = b'{"a": NaN}'
    path.write_bytes(b"\n".join(lines))
    report = validate_file(path, runner=runner)
    places = {(d.code, d.line) for d in report.errors}
    assert {("not_json", 4), ("not_json", 6), ("blank_target", 7)} <= places


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_invalid_utf8_is_located_by_line_and_byte(
    ending: str, tmp_path: Path, runner: Runner
) -> None:
    path = tmp_path / f"x{ending}"
    tf.write_large(path, size=600_000)
    data = path.read_bytes()
    at = data.index("😟".encode(), len(data) // 2)
    path.write_bytes(data[:at] + b"\xe9" + data[at + 4 :])
    report = validate_file(path, runner=runner)
    found = the(report, "invalid_utf8")
    line = data[:at].count(b"\n") + 1
    assert found.line == line
    assert f"Line {line}, byte {at + 1}: 0xe9" in found.message
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_in_utf16_is_named_as_such(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(tf.document()), encoding="utf-16")
    report = validate_file(path, runner=runner)
    assert errors(report) == ["invalid_utf8"]
    assert "UTF-16" in report.errors[0].message


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_random_bytes_are_refused_quickly(ending: str, tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(hashlib.shake_256(b"noise").digest(3_000_000))
    started = time.perf_counter()
    report = validate_file(path, runner=runner)
    assert not report.valid
    assert len(report.errors) < 3000
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_endless_nesting_is_refused_without_eating_memory(
    opening: str, ending: str, tmp_path: Path, runner: Runner
) -> None:
    path = tmp_path / f"x{ending}"
    path.write_text('{"conversations": [' + opening * 200_000, encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = validate_file(path, runner=runner)
    assert not report.valid
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_brackets_and_backslashes_in_texts_are_not_nesting(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document(40, 4)
    for one in doc["conversations"]:
        one["training_pairs"][3]["target_response"] = "[{" * 300 + '\\" \\\\ "[[ \\'
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    assert report.valid


def test_a_json_document_above_the_limit_is_refused_unread(tmp_path: Path, runner: Runner) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document())
    report = validate_file(path, runner=runner, max_json_gb=1e-6)
    assert errors(report) == ["json_too_large"]
    assert "BRIGHTRUN_MAX_JSON_GB" in report.errors[0].fix


# --- limits and filters ------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_conversation_longer_than_the_limit_is_refused_not_cut(
    kind: str, tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    doc["conversations"][1] = tf.conversation(2, 4, length=80)
    path = tmp_path / f"x.{kind}"
    if kind == "json":
        tf.write_json(path, doc)
    else:
        tf.write_jsonl(path, tf.jsonl_rows(doc))
    report = validate_file(path, runner=runner, max_length=1024)
    assert [(d.code, d.conversation) for d in report.errors] == [("too_long", 2)]
    assert str(report.longest) in report.errors[0].message
    assert validate_file(path, runner=runner, max_length=report.longest).valid


def test_a_quality_filter_that_leaves_nothing_says_what_would(
    tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    for path in (
        tf.write_json(tmp_path / "x.json", doc),
        tf.write_jsonl(tmp_path / "x.jsonl", tf.jsonl_rows(doc)),
    ):
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


# --- any damage at all -------------------------------------------------------------------
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False),
    st.text(max_size=5), st.just([]), st.just({}), st.lists(st.none(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip
FUZZ = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def spots(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    for key, child in children:
        found += spots(child, (*path, key))
    return found


@FUZZ
@given(data=st.data())
def test_any_value_in_any_place_is_survived(
    data: st.DataObject, tmp_path: Path, runner: Runner
) -> None:
    doc: Any = tf.document(2, 3)
    jsonl = data.draw(st.booleans())
    rows: Any = tf.jsonl_rows(doc) if jsonl else doc
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(spots(rows)))
        place = rows
        for key in path[:-1]:
            place = place[key]
        if data.draw(st.booleans()) and isinstance(place, dict):
            del place[path[-1]]
        else:
            place[path[-1]] = data.draw(JUNK)
        if not rows:
            break
    file = tmp_path / ("x.jsonl" if jsonl else "x.json")
    text = "\n".join(json.dumps(row) for row in rows) if jsonl else json.dumps(rows)
    file.write_text(text, encoding="utf-8")
    report = validate_file(file, runner=runner, max_length=500, quality_min=1.0)
    assert report.valid == (not report.errors)
    json.dumps(report.summary())


@FUZZ
@given(
    jsonl=st.booleans(),
    at=st.floats(0, 1),
    cut=st.integers(0, 40),
    junk=st.binary(max_size=12),
    end=st.booleans(),
)
def test_any_bytes_in_any_place_are_survived(
    jsonl: bool, at: float, cut: int, junk: bytes, end: bool, tmp_path: Path, runner: Runner
) -> None:
    file = tmp_path / ("x.jsonl" if jsonl else "x.json")
    doc = tf.document(2, 3)
    if jsonl:
        tf.write_jsonl(file, tf.jsonl_rows(doc))
    else:
        tf.write_json(file, doc)
    whole = file.read_bytes()
    start = int(at * len(whole))
    file.write_bytes(whole[:start] + junk + (b"" if end else whole[start + cut :]))
    report = validate_file(file, runner=runner)
    assert report.valid == (not report.errors)
    assert report.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


# --- size and time -----------------------------------------------------------------------
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_time_grows_no_faster_than_the_file(ending: str, tmp_path: Path, runner: Runner) -> None:
    small, large = tmp_path / f"small{ending}", tmp_path / f"large{ending}"
    tf.write_large(small, turns=1_500, length=2)
    tf.write_large(large, turns=15_000, length=2)

    def seconds(path: Path) -> float:
        started = time.process_time()
        assert validate_file(path, runner=runner).valid
        return time.process_time() - started

    seconds(small)  # first use compiles what is lazy
    base = min(seconds(small) for _ in range(2))
    assert seconds(large) < 20 * base


MEASURE = """
import resource, sys, time
from pathlib import Path
from expectations.validation import validate_file
started = time.perf_counter()
report = validate_file(Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
seconds = time.perf_counter() - started
print(report.valid, report.conversations, report.pairs, round(seconds, 1), round(peak))
"""


def measured(path: Path) -> tuple[str, int, int, float, int]:
    """(valid, conversations, pairs, seconds, peak MB) of a validation in its own process."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    print(path.name, f"{path.stat().st_size / 1e9:.3f} GB:", done.stdout.strip())
    valid, conversations, pairs, seconds, peak = done.stdout.split()
    return valid, int(conversations), int(pairs), float(seconds), int(peak)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_gigabyte_is_read_in_under_a_gigabyte_of_memory(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"large{ending}"
    turns = tf.write_large(path, size=1_000_000_000, each=8, length=14)
    valid, conversations, _, _, peak = measured(path)
    path.unlink()
    assert (valid, conversations) == ("True", turns // 8)
    assert peak < 1000


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_hundred_thousand_turns_take_under_twenty_times_the_time_of_five_thousand(
    ending: str, tmp_path: Path
) -> None:
    small, large = tmp_path / f"small{ending}", tmp_path / f"large{ending}"
    tf.write_large(small, turns=5_000)
    tf.write_large(large, turns=100_000)
    assert measured(large)[3] < 20 * measured(small)[3]
