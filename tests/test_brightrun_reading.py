"""The reader's parts: bytes, nesting, lines; and the conversations that come out."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import training_files as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brightrun.bytestream import ByteStream
from brightrun.conversations import Conversation, Defect, DefectLog
from brightrun.errors import DatasetError
from brightrun.jsonstream import DEEPEST, Depth, top_level_types
from brightrun.reading import TrainingFile, conversations, format_of

ANY_FOLDER = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TRICKY = st.sampled_from(
    [b"\\", b'"', b"\\ud83d\\ude1f", b"\\ud83d", b"\\udfff", b"\\\\ud83d", b"u", b"\n",
     "é😟".encode(), b"\xff", b"\xf0\x9f", b"abc", b"\xc3", b"\xef\xbb\xbf"]
)  # fmt: skip


def read(path: Path, chunk: int) -> tuple[bytes, list[str], str]:
    log = DefectLog()
    stream = ByteStream(path, log, chunk=chunk)
    data = b"".join(stream.chunks())
    return data, [d.message for d in log.listed()], stream.sha256


@ANY_FOLDER
@given(pieces=st.lists(TRICKY, max_size=30), chunk=st.integers(1, 20))
def test_the_size_of_the_chunks_does_not_change_what_is_read(
    pieces: list[bytes], chunk: int, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"".join(pieces))
    whole = read(path, 1 << 20)
    assert read(path, chunk) == whole
    whole[0].decode()  # always valid UTF-8
    assert whole[2] == hashlib.sha256(b"".join(pieces)).hexdigest()


@ANY_FOLDER
@given(text=st.text(st.characters(exclude_categories=("Cs",))), chunk=st.integers(1, 9))
def test_valid_text_comes_through_unchanged(text: str, chunk: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    data = json.dumps(text, ensure_ascii=len(text) % 2 == 0).encode()
    path.write_bytes(data)
    assert read(path, chunk)[:2] == (data, [])


def test_half_a_surrogate_pair_becomes_the_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(rb'["\ud83d", "\ude1f", "\ud83d\ude1f", "\\ud83d"]')
    data, defects, _ = read(path, 7)
    assert json.loads(data) == ["\ufffd", "\ufffd", "😟", r"\ud83d"]
    assert defects == []


def test_bad_bytes_beyond_twenty_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a\xff\n" * 500)
    data, defects, _ = read(path, 64)
    assert len(defects) == 21
    assert defects[3].startswith("Line 4, byte 11: 0xff")
    assert "480 more" in defects[-1]
    assert data.count("\ufffd".encode()) == 500


VALUES = st.recursive(
    st.none() | st.text(st.sampled_from('[]{}"\\a\n'), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=30,
)


def deepest(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(deepest, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(deepest, value), default=0)
    return 0


@ANY_FOLDER
@given(value=VALUES, chunk=st.integers(1, 12), more=st.integers(0, DEEPEST))
def test_depth_is_that_of_the_document(value: Any, chunk: int, more: int, tmp_path: Path) -> None:
    for _ in range(more):
        value = [value]
    path = tmp_path / "x"
    path.write_text(json.dumps(value), encoding="utf-8")
    depth = Depth()
    chunks = list(ByteStream(path, DefectLog(), chunk=chunk).chunks())
    seen = [depth.passes(chunk) for chunk in chunks]  # all of them, for the depth at the end
    passed = any(seen)
    assert passed == (deepest(value) > DEEPEST)
    assert passed or depth.depth == 0


def test_the_top_level_is_described(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"a": {"b": []}, "c": [{"d": 1}], "e": null, "f": "x"}', encoding="utf-8")
    document, types = top_level_types(ByteStream(path, DefectLog()))
    assert document == "an object"
    assert types == {"a": "an object", "c": "a list", "e": "null", "f": "a string"}


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.json", '{"training_file_metadata": {}}', "json"),
        ("a.json", '{"_meta": {}}\n', "jsonl"),
        ("a.jsonl", '{"training_file_metadata": {}}', "json"),
        ("a.jsonl", '{"id": 1}\n', "jsonl"),
        ("a.ndjson", "", "jsonl"),
        ("a", "[]", "json"),
    ],
)
def test_the_format_is_told_by_the_first_line_then_by_the_name(
    name: str, text: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert format_of(path) == kind


# --- conversations ---------------------------------------------------------------------------
def both(tmp_path: Path, doc: dict[str, Any]) -> list[list[Conversation]]:
    paths = [tf.write(tmp_path / name, doc) for name in ("x.json", "x.jsonl")]
    return [list(conversations(path)) for path in paths]


def test_messages_alternate_and_each_text_stands_once(tmp_path: Path) -> None:
    for found in both(tmp_path, tf.document(3, 6)):
        for one in found:
            messages = one.messages()
            assert [m["role"] for m in messages] == ["system"] + ["user", "assistant"] * 3
            texts = [m["content"] for m in messages]
            assert len(set(texts)) == len(texts)
            numbers = [re.findall(r"\d+\.(\d+):", t)[0] for t in texts[1:]]
            assert numbers == ["1", "2", "3", "4", "5", "6"]


def test_json_and_jsonl_give_the_same_messages(tmp_path: Path) -> None:
    one, other = both(tmp_path, tf.document(3, 5))
    assert [c.messages() for c in one] == [c.messages() for c in other]
    assert [(c.conversation_id, c.arc, c.persona, c.topic) for c in one] == [
        (c.conversation_id, c.arc, c.persona, c.topic) for c in other
    ]


def test_an_unanswered_last_client_turn_is_left_out(tmp_path: Path) -> None:
    (json_form, _) = both(tmp_path, tf.document(1, 5))
    assert len(json_form[0].turns) == 5
    assert json_form[0].messages()[-1]["role"] == "assistant"
    assert len(json_form[0].messages()) == 5


def test_a_conversation_without_an_answer_has_only_its_prompt(tmp_path: Path) -> None:
    doc = tf.document(1, 1)
    (one,) = conversations(tf.write_json(tmp_path / "x.json", doc))
    assert one.messages() == [{"role": "system", "content": tf.PROMPT}]
    assert one.supervised_pairs == 0


def test_answers_below_the_quality_filter_are_context_and_cut_at_the_end(tmp_path: Path) -> None:
    doc = tf.document(1, 6)
    pairs = doc["conversations"][0]["training_pairs"]
    for number in (1, 5):
        pairs[number]["training_metadata"]["quality_score"] = 2
    (one,) = conversations(tf.write_json(tmp_path / "x.json", doc), quality_min=3)
    messages = one.messages()
    assert [m.get("supervised", True) for m in messages] == [True, True, False, True, True]
    assert one.supervised_pairs == 1


def test_reading_a_broken_file_ends_with_its_first_defect(tmp_path: Path) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match="ends in the middle"):
        list(conversations(path))


def test_pairs_are_numbered_over_the_whole_file(tmp_path: Path) -> None:
    found = TrainingFile(tf.write_json(tmp_path / "x.json", tf.document(3, 4)), DefectLog())
    numbers = [pair.pair for record in found for pair in record.pairs]
    assert numbers == list(range(1, 13))


def test_a_line_that_lost_its_id_stays_with_its_neighbours(tmp_path: Path) -> None:
    rows = tf.jsonl_rows(tf.document(2, 6))
    del rows[2]["conversation_id"]
    log = DefectLog()
    found = list(TrainingFile(tf.write_jsonl(tmp_path / "x.jsonl", rows), log))
    assert [len(record.pairs) for record in found] == [3, 3]
    assert [(d.code, d.line, d.field) for d in log.listed()] == [
        ("missing_key", 3, "conversation_id")
    ]


def test_defects_are_listed_in_file_order() -> None:
    log = DefectLog()
    for place in ((2, 8), (1, 3), (None, None), (1, 1)):
        log.add(Defect(code="x", message="m", conversation=place[0], pair=place[1]))
    assert [(d.conversation, d.pair) for d in log.listed()] == [
        (None, None), (1, 1), (1, 3), (2, 8),
    ]  # fmt: skip
