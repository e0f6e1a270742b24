"""The split and the frozen files that a job trains on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import training_files as tf
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from brightrun.chat import TEMPLATES
from brightrun.conversations import FileReport, RowFacts
from brightrun.errors import DatasetError
from brightrun.jobs import Hyperparameters
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer
from expectations.runner import Runner
from expectations.snapshot import snapshot
from expectations.split import held_out
from expectations.validation import validate_file

VALUES = Hyperparameters()
Json = dict[str, Any]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    """One token per byte: lengths that can be counted by hand."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    found = Tokenizer(BPE(vocab={c: n for n, c in enumerate(alphabet)}, merges=[]))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    found.add_special_tokens(list(TEMPLATES["chatml"].controls))
    return ChatTokenizer(found, "chatml")


def folder(tmp_path: Path) -> RunFolder:
    return RunFolder((tmp_path / "storage").as_uri(), "job-1")


def rows_of(run: RunFolder, name: str) -> list[Json]:
    return run.read_jsonl(f"data/{name}.jsonl")


def valid(path: Path, runner: Runner, tokenizer: ChatTokenizer) -> FileReport:
    report = validate_file(path, tokenizer=tokenizer, runner=runner, max_length=VALUES.max_length)
    assert report.valid, report.errors
    return report


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_the_snapshot_holds_every_conversation_once_and_its_totals(
    kind: str, tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    doc = tf.document(21, 6)
    path = tmp_path / f"x.{kind}"
    if kind == "json":
        tf.write_json(path, doc)
    else:
        tf.write_jsonl(path, tf.jsonl_rows(doc))
    report = valid(path, runner, tokenizer)
    run = folder(tmp_path)
    manifest = snapshot(path, report, run, VALUES, tokenizer=tokenizer)

    train, held = rows_of(run, "train"), rows_of(run, "validation")
    assert sorted(row["index"] for row in train + held) == list(range(1, 22))
    assert manifest == run.manifest("data")
    for name in ("train.jsonl", "validation.jsonl"):
        data = run.read_bytes(f"data/{name}")
        facts = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        assert manifest["files"][name] == facts
    assert manifest["train_conversations"] == len(train) == 18
    assert manifest["validation_conversations"] == len(held) == 3
    assert manifest["supervised_pairs"] == 54
    assert manifest["train_tokens"] == sum(row["tokens"] for row in train)
    assert manifest["sum_squared_tokens"] == sum(row["tokens"] ** 2 for row in train)
    assert manifest["supervised_tokens"] == sum(row["supervised_tokens"] for row in train)
    assert manifest["validation_tokens"] == sum(row["tokens"] for row in held)
    assert manifest["train_tokens"] + manifest["validation_tokens"] == report.tokens
    assert manifest["source_sha256"] == report.sha256
    assert manifest["left_out"] == 0


def test_a_row_s_tokens_are_those_of_its_messages(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document(4, 4))
    run = folder(tmp_path)
    snapshot(path, valid(path, runner, tokenizer), run, VALUES, tokenizer=tokenizer)
    for row in rows_of(run, "train") + rows_of(run, "validation"):
        encoded = tokenizer.encode(row["messages"])
        assert row["tokens"] == len(encoded.input_ids)
        assert row["supervised_tokens"] == sum(encoded.supervised)
        answers = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        # One token per byte, and one end-of-turn token per answer.
        assert row["supervised_tokens"] == sum(len(a.encode()) + 1 for a in answers)
        assert row["supervised_pairs"] == len(answers) == 2


def test_twice_the_same_snapshot_is_byte_identical(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document(9, 4))
    report = valid(path, runner, tokenizer)
    run = folder(tmp_path)
    one = snapshot(path, report, run, VALUES, tokenizer=tokenizer)
    other = snapshot(path, report, run, VALUES, tokenizer=tokenizer)
    assert one == other
    seeds = [VALUES.model_copy(update={"seed": seed}) for seed in range(8)]
    files = [snapshot(path, report, run, v, tokenizer=tokenizer)["files"] for v in seeds]
    assert len({json.dumps(f) for f in files}) > 1


def test_a_conversation_without_an_answer_is_left_out_and_counted(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    doc = tf.document(4, 4)
    doc["conversations"][2] = tf.conversation(3, 1)
    path = tf.write_json(tmp_path / "x.json", tf.counted(doc))
    run = folder(tmp_path)
    manifest = snapshot(path, valid(path, runner, tokenizer), run, VALUES, tokenizer=tokenizer)
    assert manifest["left_out"] == 1
    assert 3 not in [r["index"] for r in rows_of(run, "train") + rows_of(run, "validation")]


def test_per_pair_totals_count_what_is_said_before_again(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document(4, 6))
    report = valid(path, runner, tokenizer)
    run = folder(tmp_path)
    pairs = VALUES.model_copy(update={"sequence": "pair"})
    whole = snapshot(path, report, run, VALUES, tokenizer=tokenizer)
    by_pair = snapshot(path, report, run, pairs, tokenizer=tokenizer)
    expected = sum(
        len(tokenizer.encode(row["messages"][:end]).input_ids)
        for row in rows_of(run, "train")
        for end in (3, 5, 7)
    )
    assert by_pair["train_tokens"] == expected > whole["train_tokens"]
    assert by_pair["supervised_tokens"] == whole["supervised_tokens"]
    assert by_pair["files"] == whole["files"]


def test_a_filtered_answer_stays_in_the_snapshot_as_context(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    doc = tf.document(3, 4)
    for one in doc["conversations"]:
        one["training_pairs"][1]["training_metadata"]["quality_score"] = 2
    path = tf.write_json(tmp_path / "x.json", doc)
    report = validate_file(path, tokenizer=tokenizer, runner=runner, quality_min=3)
    run = folder(tmp_path)
    manifest = snapshot(path, report, run, VALUES, tokenizer=tokenizer, quality_min=3)
    assert manifest["supervised_pairs"] == 2
    flags = [m.get("supervised") for m in rows_of(run, "train")[0]["messages"]]
    assert flags == [None, None, False, None, None]
    with pytest.raises(DatasetError, match="supervised pairs"):
        snapshot(path, report, run, VALUES, tokenizer=tokenizer)


def test_nothing_is_written_when_a_sequence_is_too_long(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document(3, 4))
    report = valid(path, runner, tokenizer)
    run = folder(tmp_path)
    tight = VALUES.model_copy(update={"max_length": report.longest - 1})
    with pytest.raises(DatasetError, match=f"max_length = {report.longest - 1}"):
        snapshot(path, report, run, tight, tokenizer=tokenizer)
    assert run.names("data") == []


def test_a_file_that_changed_since_validation_is_refused(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document(3, 4))
    report = valid(path, runner, tokenizer)
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    run = folder(tmp_path)
    with pytest.raises(DatasetError, match="has changed"):
        snapshot(path, report, run, VALUES, tokenizer=tokenizer)
    assert run.names("data") == []


def test_an_invalid_file_is_refused(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    doc = tf.document(3, 4)
    doc["conversations"][0]["training_pairs"][1]["target_response"] = None
    path = tf.write_json(tmp_path / "x.json", doc)
    report = validate_file(path, tokenizer=tokenizer, runner=runner)
    with pytest.raises(DatasetError, match="not valid: 1 defect"):
        snapshot(path, report, folder(tmp_path), VALUES, tokenizer=tokenizer)


# --- the split -----------------------------------------------------------------------------------
def facts(index: int, arc: str) -> RowFacts:
    return RowFacts(
        conversation_id=f"id-{index}", index=index, arc=arc, persona="p", pairs=4,
        supervised_pairs=2, tokens=10, supervised_tokens=5, characters=40,
    )  # fmt: skip


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=7),
    share=st.floats(0.01, 0.49),
    seed=st.integers(0, 1000),
)
def test_the_split_keeps_its_promises(sizes: list[int], share: float, seed: int) -> None:
    arcs = [arc for arc, size in enumerate(sizes) for _ in range(size)]
    rows = [facts(n, f"arc-{arc}") for n, arc in enumerate(arcs, start=1)]
    if len(rows) < 2:
        with pytest.raises(DatasetError):
            held_out(rows, share, seed)
        return
    chosen = held_out(rows, share, seed)
    assert 1 <= len(chosen) < len(rows)
    assert len(chosen) <= max(1, round(share * len(rows)))
    training = Counter(row.arc for row in rows if row.index not in chosen)
    for arc, size in enumerate(sizes):
        assert size < 2 or training[f"arc-{arc}"] >= 1
    assert chosen == held_out(rows, share, seed)


def test_the_split_follows_the_arcs_of_the_full_file() -> None:
    sizes = {"a": 60, "b": 59, "c": 42, "d": 42, "e": 13, "f": 13, "g": 13}
    arcs = [arc for arc, size in sizes.items() for _ in range(size)]
    rows = [facts(n, arc) for n, arc in enumerate(arcs, start=1)]
    chosen = held_out(rows, 0.15, 42)
    held = Counter(row.arc for row in rows if row.index in chosen)
    assert len(chosen) == 36
    for arc, size in sizes.items():
        assert abs(held[arc] - 0.15 * size) < 1


def test_the_split_does_not_depend_on_the_file_s_order() -> None:
    rows = [facts(n, f"arc-{n % 3}") for n in range(1, 21)]
    names = {f"id-{index}" for index in held_out(rows, 0.2, 7)}
    turned = [facts(21 - row.index, row.arc).model_copy(
        update={"conversation_id": row.conversation_id}
    ) for row in rows]  # fmt: skip
    chosen = held_out(turned, 0.2, 7)
    assert {row.conversation_id for row in turned if row.index in chosen} == names
