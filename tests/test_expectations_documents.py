"""Every broken document of the issue, in JSON and JSONL: each defect located, with its mend."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import training_files as tf
from validated import errors

from brightrun.conversations import FileReport
from expectations.runner import Runner
from expectations.validation import validate_file

Json = dict[str, Any]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


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


# name: (change, code, turn)
BROKEN: dict[str, tuple[Callable[[Json], object], str, int]] = {
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


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, runner: Runner) -> dict[str, FileReport]:
    """By kind of file: conversation 1 is whole, each one after it is broken in its own way."""
    doc = tf.document(1 + len(BROKEN))
    rows = tf.jsonl_rows(doc)
    for k, (change, _, _) in enumerate(BROKEN.values(), start=1):
        broken = doc["conversations"][k]
        change({"conversations": [None, broken]})
        # The pair itself, so that it is written although it lost its target.
        pair = broken["training_pairs"][3]
        rows[2 * k + 2] = {**pair, "conversation_id": rows[2 * k + 2]["conversation_id"]}
    place = tmp_path_factory.mktemp("broken")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    for kind, text in {"json": json.dumps(doc, ensure_ascii=False), "jsonl": lines}.items():
        # JSON's escape is the only way to write half an emoji.
        (place / f"x.{kind}").write_text(text.replace("\ud83d", "\\ud83d"), encoding="utf-8")
    return {kind: validate_file(place / f"x.{kind}", runner=runner) for kind in ("json", "jsonl")}


@pytest.mark.parametrize("kind", ["json", "jsonl"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_turn_is_found_and_located(
    name: str, kind: str, reports: dict[str, FileReport]
) -> None:
    _, code, number = BROKEN[name]
    k = 2 + list(BROKEN).index(name)
    assert not reports[kind].valid
    of_it = [defect for defect in reports[kind].errors if defect.conversation == k]
    assert {defect.code for defect in of_it} == {code}
    pair, line = (4 * k, None) if kind == "json" else (2 * k, 2 * k + 1)
    where = f"(conversation {k}, turn {number}" + (f", line {line})" if line else ")")
    for found in of_it:
        assert (found.turn_number, found.pair, found.line) == (number, pair, line)
        assert found.conversation_id == str(uuid.UUID(int=k))
        assert found.fix
        assert found.message.startswith(f"Training pair #{pair} {where}: ")


def test_nothing_else_of_such_a_file_is_blamed(reports: dict[str, FileReport]) -> None:
    for report in reports.values():
        assert {defect.conversation for defect in report.errors} == set(range(2, 2 + len(BROKEN)))


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
def test_a_prompt_that_changes_inside_a_conversation_is_located_at_its_turn(
    kind: str, tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document(3, 8)
    for pair in doc["conversations"][1]["training_pairs"][3:]:
        pair["system_prompt"] = "You are somebody else."
    report = validate_file(tf.write(tmp_path / f"x.{kind}", doc), runner=runner)
    assert report.valid
    (found,) = report.warnings
    assert (found.code, found.conversation, found.turn_number) == ("system_prompt_changes", 2, 4)
    assert found.line == (None if kind == "json" else 7)
    first = 1 if kind == "json" else 2
    assert f"the whole conversation is trained with that of turn {first}" in found.message
    assert report.system_prompt == tf.PROMPT


def test_a_conversation_with_its_own_prompt_is_said_to_be_trained_with_it(
    tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    for pair in doc["conversations"][1]["training_pairs"]:
        pair["system_prompt"] = "You are somebody else."
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    assert [(d.code, d.conversation) for d in report.warnings] == [("other_system_prompt", 2)]
    assert "trained with its own" in report.warnings[0].message


def test_a_defect_of_the_whole_file_names_the_file(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document()
    doc["training_file_metadata"].update(total_conversations=9, format_spec="other")
    report = validate_file(tf.write_json(tmp_path / "ours.json", doc), runner=runner)
    assert [d.message.split(": ")[0] for d in report.errors] == ["File ours.json"] * 2
    for name in ("nothing.json", "nothing.jsonl"):
        (tmp_path / name).write_bytes(b"")
        (found,) = validate_file(tmp_path / name, runner=runner).errors
        assert name in found.message


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            "json",
            {
                "wrong_format": "training_file_metadata.format_spec",
                "total_pairs_wrong": "training_file_metadata.total_training_pairs",
                "duplicate_conversation": "conversation_metadata.conversation_id",
                "unknown_arc": "conversation_metadata.scaffolding.emotional_arc_key",
                "unknown_persona": "conversation_metadata.scaffolding.persona_key",
            },
        ),
        (
            "jsonl",
            {
                "wrong_format": "_meta.format_spec",
                "total_pairs_wrong": "_meta.total_pairs",
                "duplicate_conversation": "conversation_id",
                "unknown_arc": "conversation_metadata.emotional_arc_key",
                "unknown_persona": "conversation_metadata.persona_archetype",
            },
        ),
    ],
)
def test_a_field_is_the_key_s_path_from_what_the_place_names(
    kind: str, fields: dict[str, str], tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    twice(doc)
    doc["training_file_metadata"].update(total_training_pairs=99)
    one = doc["conversations"][0]
    one["conversation_metadata"]["scaffolding"].update(emotional_arc_key="x", persona_key="x")
    for pair in one["training_pairs"]:
        pair["conversation_metadata"].update(emotional_arc_key="x", persona_archetype="x")
    if kind == "json":
        doc["training_file_metadata"]["format_spec"] = "other"
        path = tf.write_json(tmp_path / "x.json", doc)
    else:
        rows = tf.jsonl_rows(doc)
        rows[0]["_meta"]["format_spec"] = "other"
        path = tf.write_jsonl(tmp_path / "x.jsonl", rows)
    report = validate_file(path, runner=runner)
    assert {d.code: d.field for d in (*report.errors, *report.warnings)} == fields


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
    path = tf.write(tmp_path / f"x.{kind}", doc)
    report = validate_file(path, runner=runner)
    assert errors(report) == ["duplicate_conversation"]
    assert report.errors[0].conversation == 4
    assert "conversation 2" in report.errors[0].message


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_conversation_copied_under_a_new_id_is_refused(
    kind: str, tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    twice(doc)
    doc["conversations"][3]["conversation_metadata"]["conversation_id"] = "another"
    report = validate_file(tf.write(tmp_path / f"x.{kind}", doc), runner=runner)
    (found,) = report.errors
    assert (found.code, found.conversation) == ("duplicate_conversation", 4)
    assert (found.conversation_id, found.line) == ("another", None if kind == "json" else 8)
    assert "same as conversation 2" in found.message
    assert found.fix.startswith("remove one of the two")


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_the_same_answers_to_other_questions_are_no_duplicate(
    kind: str, tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document(2, 2)
    first, second = (one["training_pairs"] for one in doc["conversations"])
    second[1]["target_response"] = first[1]["target_response"]
    assert validate_file(tf.write(tmp_path / f"x.{kind}", doc), runner=runner).valid


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
    assert report.errors[0].message == "Line 1: 'version' is '3.1.0', expected 4.x"
    assert (report.errors[0].line, report.errors[0].field) == (1, "_meta.version")
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


@pytest.mark.parametrize("blank", ["\u200b\u200b", "\u00a0\ufeff", "\u2060\u00ad \n", "\u200e"])
def test_a_target_in_which_nothing_can_be_seen_is_blank(
    tmp_path: Path, runner: Runner, blank: str
) -> None:
    document = tf.document()
    document["conversations"][0]["training_pairs"][1]["target_response"] = blank
    report = validate_file(tf.write_json(tmp_path / "x.json", document), runner=runner)
    assert "blank_target" in errors(report)
    found = next(d for d in report.errors if d.code == "blank_target")
    assert (found.conversation, found.turn_number) == (1, 2)


def test_a_json_document_named_jsonl_is_read_as_what_it_is(tmp_path: Path, runner: Runner) -> None:
    text = json.dumps(tf.document(), indent=2)
    for name, whole in (("a.jsonl", text), ("b.jsonl", "{\n" + text[text.index('"cons') :])):
        path = tmp_path / name
        path.write_text(whole, encoding="utf-8")
        report = validate_file(path, runner=runner)
        assert report.format == "json"
        assert len(report.errors) <= 1


def test_a_conversation_beyond_the_models_context_is_not_told_to_raise_max_length(
    tmp_path: Path, runner: Runner
) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document())
    for limit, context, said in (
        (20, 20, "20 tokens are all this one can read"),
        (20, 4096, "raise max_length (up to 4,096, the base model's context)"),
        (20, None, "raise max_length (up to the base model's context)"),
    ):
        report = validate_file(path, max_length=limit, context=context, runner=runner)
        fixes = {d.fix for d in report.errors if d.code == "too_long"}
        assert len(fixes) == 1
        assert said in fixes.pop()
