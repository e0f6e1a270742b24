"""Files that are broken as bytes, and any damage at all: told in words, never a crash."""

from __future__ import annotations

import hashlib
import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import training_files as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from validated import errors, the

from expectations.runner import Runner
from expectations.validation import validate_file

Json = dict[str, Any]
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


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


def test_a_jsonl_file_without_its_last_line_says_that_it_may_be_cut_and_where(
    tmp_path: Path, runner: Runner
) -> None:
    rows = tf.jsonl_rows(tf.document(4, 4))  # 16 turns
    whole = validate_file(tf.write_jsonl(tmp_path / "whole.jsonl", rows), runner=runner)
    assert (whole.warnings, whole.notes) == ((), ())
    report = validate_file(tf.write_jsonl(tmp_path / "cut.jsonl", rows[:-1]), runner=runner)
    assert report.valid  # two conversations with an unanswered last turn look the same
    assert report.warnings == ()  # nor is it alarmed about: most such files are whole
    (found,) = report.notes
    assert report.summary()["notes"] == [found.model_dump(mode="json")]
    assert (found.code, found.line, found.field) == (
        "total_pairs_unproven", 1, "_meta.total_pairs",
    )  # fmt: skip
    assert "says 16, its lines show 14 turns" in found.message
    assert "up to 1 lost lines" in found.message
    assert "line 8 (conversation 4, turn 2)" in found.fix


def test_one_unanswered_client_turn_hides_no_lost_line(tmp_path: Path, runner: Runner) -> None:
    doc = tf.document(3, 4)
    doc["conversations"][2] = tf.conversation(3, 5)
    path = tf.write(tmp_path / "x.jsonl", tf.counted(doc))
    report = validate_file(path, runner=runner)
    assert (report.warnings, report.notes) == ((), ())


def test_our_own_example_alarms_nobody_in_either_form(runner: Runner) -> None:
    for ending in ("json", "jsonl"):
        report = validate_file(EXAMPLES / f"training-file.{ending}", runner=runner)
        assert report.valid
        assert "total_pairs_unproven" not in {defect.code for defect in report.warnings}
    assert {note.code for note in report.notes} == {"total_pairs_unproven"}


def test_more_lost_turns_than_conversations_are_an_error(tmp_path: Path, runner: Runner) -> None:
    rows = tf.jsonl_rows(tf.document(2, 8))  # 16 turns; two may be unanswered last ones
    report = validate_file(tf.write_jsonl(tmp_path / "cut.jsonl", rows[:-2]), runner=runner)
    assert (errors(report), report.notes) == (["total_pairs_wrong"], ())


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
    tf.write(file, doc)
    whole = file.read_bytes()
    start = int(at * len(whole))
    file.write_bytes(whole[:start] + junk + (b"" if end else whole[start + cut :]))
    report = validate_file(file, runner=runner)
    assert report.valid == (not report.errors)
    assert report.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
