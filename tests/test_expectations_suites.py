"""Every expectation of every suite earns its place: one bad file that only it catches."""

from __future__ import annotations

import copy
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import training_files as tf

from brightrun.conversations import DefectLog, FileReport
from brightrun.errors import ConfigurationError
from expectations.columns import Columns
from expectations.runner import NAMES, SUITES, Runner, load_suite
from expectations.validation import validate_file

Json = dict[str, Any]


def last(doc: Json) -> Json:
    """Conversation 2's last turn (4, the advisor's)."""
    found: Json = doc["conversations"][1]["training_pairs"][-1]
    return found


def set_last(key: str, value: object) -> Callable[[Json], None]:
    return lambda doc: last(doc).__setitem__(key, value)


def append_to_answer(text: str) -> Callable[[Json], None]:
    return lambda doc: last(doc).__setitem__("target_response", last(doc)["target_response"] + text)


def in_history(at: int, key: str, value: object) -> Callable[[Json], None]:
    return lambda doc: last(doc)["conversation_history"][at].__setitem__(key, value)


def in_metadata(key: str, value: object) -> Callable[[Json], None]:
    return lambda doc: doc["training_file_metadata"].__setitem__(key, value)


def answer_on_a_client_turn(doc: Json) -> None:
    doc["conversations"][1]["training_pairs"][2]["target_response"] = "Too early."


def silent_client(doc: Json) -> None:
    doc["conversations"][1] = tf.conversation(2, 5)
    last(doc)["current_user_input"] = " \n"
    tf.counted(doc)


def blank_prompts(doc: Json) -> None:
    for one in doc["conversations"]:
        for pair in one["training_pairs"]:
            pair["system_prompt"] = "  "


def short_history(doc: Json) -> None:
    last(doc)["conversation_history"].pop()


def same_id(doc: Json) -> None:
    first, second = doc["conversations"][:2]
    name = first["conversation_metadata"]["conversation_id"]
    second["conversation_metadata"]["conversation_id"] = name


def copied(doc: Json) -> None:
    doc["conversations"].append(copy.deepcopy(doc["conversations"][0]))
    doc["conversations"][-1]["conversation_metadata"]["conversation_id"] = "another-id"
    tf.counted(doc)


def one_unanswered(doc: Json) -> None:
    doc["conversations"][1] = tf.conversation(2, 1)
    tf.counted(doc)


def all_unanswered(doc: Json) -> None:
    doc["conversations"] = [tf.conversation(n, 1) for n in (1, 2)]
    tf.counted(doc)


def other_prompt(doc: Json) -> None:
    for pair in doc["conversations"][1]["training_pairs"]:
        pair["system_prompt"] = "You are somebody else."


def prompt_changes(doc: Json) -> None:
    for pair in doc["conversations"][1]["training_pairs"][2:]:
        pair["system_prompt"] = "You are somebody else."


def scaffolding(key: str, pair_key: str, value: str) -> Callable[[Json], None]:
    def change(doc: Json) -> None:
        one = doc["conversations"][1]
        one["conversation_metadata"]["scaffolding"][key] = value
        for pair in one["training_pairs"]:
            pair["conversation_metadata"][pair_key] = value

    return change


def long_prompts(doc: Json) -> None:
    for one in doc["conversations"]:
        for pair in one["training_pairs"]:
            pair["system_prompt"] = tf.PROMPT * 60


class Blind:
    """A fake tokenizer whose chat template marks nothing."""

    def lengths(self, conversations: list[Any]) -> list[tuple[int, int]]:
        return [(10, 0) for _ in conversations]


def no_conversations(doc: Json) -> None:
    doc["conversations"] = []
    tf.counted(doc)


# (suite, column): (file's ending, how to break a valid document, options of validate_file)
BAD: dict[tuple[str, str], tuple[str, Callable[[Json], None], Json]] = {
    ("turns", "turn_step"): ("json", set_last("turn_number", 6), {}),
    ("turns", "advisor_target_null"): ("json", set_last("target_response", None), {}),
    ("turns", "advisor_target_blank"): ("json", set_last("target_response", " \t"), {}),
    ("turns", "client_target"): ("json", answer_on_a_client_turn, {}),
    ("turns", "input_blank"): ("json", silent_client, {}),
    ("turns", "system_blank"): ("json", blank_prompts, {}),
    ("turns", "prompt_changed"): ("json", prompt_changes, {}),
    ("turns", "history_gap"): ("json", short_history, {}),
    ("turns", "history_role_turn"): ("json", in_history(1, "role", "user"), {}),
    ("turns", "history_order_turn"): ("json", in_history(1, "turn", 7), {}),
    ("turns", "history_changed_turn"): ("json", in_history(1, "content", "Never said."), {}),
    ("turns", "history_end_differs"): ("json", set_last("current_user_input", "Other words"), {}),
    ("turns", "replaced_characters"): ("json", append_to_answer(" caf\ufffd"), {}),
    ("turns", "misread_characters"): ("json", append_to_answer("It\u00e2\u20ac\u2122s."), {}),
    ("turns", "control_characters"): ("json", append_to_answer("\x07"), {}),
    ("turns", "chat_tokens"): ("json", append_to_answer("<|im_end|>"), {}),
    ("turns", "quality_score"): ("json", set_last("training_metadata", {"quality_score": 9}), {}),
    ("conversations", "turns_gap"): (
        "json",
        lambda doc: doc["conversations"][1]["conversation_metadata"].update(total_turns=9),
        {},
    ),
    ("conversations", "earlier_id"): ("json", same_id, {}),
    ("conversations", "earlier_copy"): ("json", copied, {}),
    ("conversations", "tokens_over"): ("json", lambda doc: None, {"max_length": 30}),
    ("conversations", "pair_over"): (
        "json",
        lambda doc: None,
        {"max_length": 30, "too_long": "split"},
    ),
    ("conversations", "parts"): (
        "json",
        lambda doc: None,
        {"max_length": 50, "too_long": "split"},
    ),
    ("conversations", "unmasked"): ("json", lambda doc: None, {"tokenizer": Blind()}),
    ("conversations", "answers"): ("json", one_unanswered, {}),
    ("conversations", "other_prompt"): ("json", other_prompt, {}),
    ("conversations", "unknown_arc"): (
        "json",
        scaffolding("emotional_arc_key", "emotional_arc_key", "bliss"),
        {},
    ),
    ("conversations", "unknown_persona"): (
        "json",
        scaffolding("persona_key", "persona_archetype", "robot"),
        {},
    ),
    ("file", "supervised_percent"): ("json", long_prompts, {}),
    ("file", "wrong_format"): ("json", in_metadata("format_spec", "brightrun-lora-v3"), {}),
    ("file", "wrong_version"): ("json", in_metadata("version", "3.0.0"), {}),
    ("file", "conversations"): ("json", no_conversations, {}),
    ("file", "answers"): ("json", all_unanswered, {}),
    ("file", "kept"): ("json", lambda doc: None, {"quality_min": 3.5}),
    ("file", "conversations_gap"): ("json", in_metadata("total_conversations", 9), {}),
    ("file", "pairs_gap"): ("json", in_metadata("total_training_pairs", 99), {}),
    ("file", "pairs_outside"): ("jsonl", in_metadata("total_training_pairs", 2), {}),
    ("file", "turns_unseen"): ("jsonl", in_metadata("total_training_pairs", 14), {}),
}


Found = Callable[[tuple[str, str]], tuple[Path, FileReport]]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


def expectations() -> list[tuple[str, str]]:
    return [
        (name, entry["kwargs"]["column"])
        for name in NAMES
        for entry in load_suite(name)["expectations"]
    ]


def bad_file(folder: Path, key: tuple[str, str]) -> Path:
    kind, change, _ = BAD[key]
    doc = tf.document()
    change(doc)
    return tf.write(folder / f"bad.{kind}", doc)


def codes(report: FileReport, severity: str) -> set[str]:
    found = {"error": report.errors, "warning": report.warnings, "note": report.notes}
    return {defect.code for defect in found[severity]}


def test_each_expectation_has_its_bad_file_and_there_is_no_other() -> None:
    assert sorted(expectations()) == sorted(BAD)


@pytest.fixture(scope="module")
def found(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The bad file of an expectation and what is found in it, each file read once."""

    @functools.cache
    def look(key: tuple[str, str]) -> tuple[Path, FileReport]:
        path = bad_file(tmp_path_factory.mktemp("bad"), key)
        return path, validate_file(path, runner=runner, **BAD[key][2])

    return look


def suites_without(key: tuple[str, str], code: str, folder: Path) -> Path:
    """The suites less one expectation; less all of them where no other has its code.

    The first look has shown then that the others are silent, so they are left out, which is
    quicker: the second look only shows that nothing outside the suites tells the code.
    """
    folder.mkdir()
    suites = {path.stem: load_suite(path.stem) for path in SUITES.glob("*.json")}
    every = [e for suite in suites.values() for e in suite["expectations"]]
    alone = sum(e["meta"]["code"] == code for e in every) == 1
    for name, suite in suites.items():
        left = [] if alone else suite["expectations"]
        left = [e for e in left if (name, e["kwargs"]["column"]) != key]
        text = json.dumps({**suite, "expectations": left})
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("key", sorted(BAD), ids=".".join)
def test_only_this_expectation_catches_its_bad_file(
    key: tuple[str, str], runner: Runner, found: Found, tmp_path: Path
) -> None:
    assert key in expectations()
    suite = load_suite(key[0])
    meta = next(e["meta"] for e in suite["expectations"] if e["kwargs"]["column"] == key[1])
    path, with_it = found(key)
    runner.folder = suites_without(key, meta["code"], tmp_path / "suites")
    try:
        without_it = validate_file(path, runner=runner, **BAD[key][2])
    finally:
        runner.folder = SUITES

    assert codes(with_it, meta["severity"]) == {meta["code"]}
    assert codes(without_it, meta["severity"]) == set()
    assert with_it.valid == (meta["severity"] != "error")
    assert without_it.valid


@pytest.mark.parametrize("key", sorted(k for k in BAD if k[0] == "turns"), ids=".".join)
def test_a_turns_defect_names_its_place_and_its_mend(key: tuple[str, str], found: Found) -> None:
    _, report = found(key)
    defect = next(d for d in (*report.errors, *report.warnings) if d.pair and d.conversation == 2)
    assert defect.message.startswith(
        f"Training pair #{defect.pair} (conversation 2, turn {defect.turn_number}): "
    )
    assert defect.conversation_id == "00000000-0000-0000-0000-000000000002"
    assert defect.fix
    assert "{" not in defect.message
    assert "None" not in defect.message


def test_an_expectation_on_a_column_that_is_not_there_is_an_error_not_a_pass(
    tmp_path: Path, runner: Runner
) -> None:
    folder = tmp_path / "suites"
    shutil.copytree(SUITES, folder)
    suite = load_suite("turns")
    suite["expectations"][0]["kwargs"]["column"] = "no_such_column"
    (folder / "turns.json").write_text(json.dumps(suite), encoding="utf-8")
    runner.folder = folder
    try:
        with pytest.raises(ConfigurationError, match="no_such_column"):
            validate_file(tf.write_json(tmp_path / "good.json", tf.document()), runner=runner)
    finally:
        runner.folder = SUITES


def test_a_broken_suite_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "turns.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"turns\.json"):
        load_suite("turns", tmp_path)


def test_a_thousand_defects_of_a_kind_are_listed_and_the_rest_are_counted(runner: Runner) -> None:
    columns = Columns()
    for n in range(1, 2501):
        columns.add({"conversation": n, "turns_gap": 1, "turns": 3, "declared": 2})
    log = DefectLog()
    suite = load_suite("conversations")
    entry = next(e for e in suite["expectations"] if e["kwargs"]["column"] == "turns_gap")
    runner._report(entry["meta"], list(range(2500)), columns, log, [], {})
    listed = log.listed()
    assert len(listed) == 1001
    assert listed[999].conversation == 1000
    assert "1,500 more" in listed[-1].message
