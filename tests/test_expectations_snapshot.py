"""The split and the frozen files that a job trains on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import training_files as tf
from genuine_templates import byte_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from brightrun.conversations import FileReport, RowFacts
from brightrun.errors import DatasetError
from brightrun.jobs import Hyperparameters
from brightrun.quotes import notes_of, work_of
from brightrun.reading import conversations
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer
from expectations.dataset_report import dataset_tables
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
    return ChatTokenizer(byte_tokenizer("chatml"), "chatml")


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
    path = tf.write(tmp_path / f"x.{kind}", doc)
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
    assert by_pair["validation_tokens"] == whole["validation_tokens"]  # held out: read whole
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


def split_snapshot(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer, **more: Any
) -> tuple[FileReport, RunFolder, Json]:
    """Five short conversations, and one of 12 turns that is twice as long as the limit."""
    doc = tf.document(6, 4)
    doc["conversations"][2] = tf.conversation(3, 12)
    path = tmp_path / "x.json"
    tf.write_json(path, tf.counted(doc))
    values = VALUES.model_copy(update={"max_length": 600, "too_long": "split", **more})
    report = validate_file(
        path, tokenizer=tokenizer, runner=runner, max_length=600, too_long="split"
    )
    run = folder(tmp_path)
    return report, run, snapshot(path, report, run, values, tokenizer=tokenizer)


def test_a_long_conversation_is_split_where_it_is_asked_for_and_counted(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    report, run, manifest = split_snapshot(tmp_path, runner, tokenizer)
    assert report.valid
    assert [(d.code, d.conversation) for d in report.warnings] == [("split", 3)]
    rows = rows_of(run, "train") + rows_of(run, "validation")
    parts = [row for row in rows if row["index"] == 3]
    assert [(row["part"], row["parts"]) for row in parts] == [(n, len(parts)) for n in (1, 2)]
    assert len({row["conversation_id"] for row in parts}) == 1
    assert all("part" not in row for row in rows if row["index"] != 3)
    assert all(row["tokens"] <= 600 for row in rows)
    # Part of one conversation are never on both sides of the split.
    assert len({"train" if row in rows_of(run, "train") else "held" for row in parts}) == 1
    said = [m for row in parts for m in row["messages"] if m["role"] != "system"]
    whole = next(c for c in conversations(report.path) if c.index == 3)
    assert said == whole.messages()[1:]
    assert sum(row["supervised_pairs"] for row in parts) == 6
    assert manifest["train_conversations"] + manifest["validation_conversations"] == 6
    assert manifest["train_sequences"] + manifest["validation_sequences"] == 7
    assert (manifest["split_conversations"], report.longest <= 600) == (1, True)
    added = sum(row["tokens"] for row in parts) - len(tokenizer.encode(whole.messages()).input_ids)
    assert manifest["added_tokens"] == added == report.rows[2].added_tokens > 0
    assert manifest["train_tokens"] + manifest["validation_tokens"] == report.tokens
    both = manifest["supervised_tokens"] + manifest["validation_supervised_tokens"]
    assert (
        both
        == report.supervised_tokens
        == sum(tokenizer.lengths([c.messages()])[0][1] for c in conversations(report.path))
    )
    facts = dict(dataset_tables(report).rows)
    assert facts["Conversations split at turn boundaries"] == 1
    assert facts["Parts made of them"] == 2
    assert notes_of(report) == (
        "longer than max_length: 1 of 6 conversations, split into 2 parts; "
        f"{added:,} tokens an epoch are their system prompts, again",
    )


def test_work_counts_the_parts(tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer) -> None:
    report, _, manifest = split_snapshot(tmp_path, runner, tokenizer)
    work = work_of(report, VALUES)
    assert work.longest == report.longest <= 600
    assert work.sequences == manifest["train_sequences"] == 6
    assert work.train_tokens + work.validation_tokens == pytest.approx(report.tokens, abs=1)


def test_a_question_too_long_for_one_sequence_is_refused_even_then(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    doc = tf.document(3, 4)
    doc["conversations"][1] = tf.conversation(2, 4, length=9)
    path = tf.write_json(tmp_path / "x.json", doc)
    report = validate_file(
        path, tokenizer=tokenizer, runner=runner, max_length=600, too_long="split"
    )
    assert [(d.code, d.conversation) for d in report.errors] == [("too_long", 2)]
    assert "cannot be split" in report.errors[0].message
    good = validate_file(path, tokenizer=tokenizer, runner=runner)
    tight = VALUES.model_copy(update={"max_length": 600, "too_long": "split"})
    with pytest.raises(DatasetError, match=r"conversation 2, part 1 \([\d,]+ tokens\)") as caught:
        snapshot(path, good, folder(tmp_path), tight, tokenizer=tokenizer)
    assert caught.value.fault == "too_long"


def test_an_answer_that_the_template_does_not_mark_stops_the_job(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    path = tf.write_json(tmp_path / "x.json", tf.document(3, 4))
    report = valid(path, runner, tokenizer)

    class Half:
        """A fake tokenizer whose template marks one token a conversation."""

        family, own = tokenizer.family, None

        def lengths(self, messages: list[Any]) -> list[tuple[int, int]]:
            return [(n, 1) for n, _ in tokenizer.lengths(messages)]

    with pytest.raises(DatasetError, match=r"1 of .* tokens would be trained on, though it has 2"):
        snapshot(path, report, folder(tmp_path), VALUES, tokenizer=cast(ChatTokenizer, Half()))


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
    with pytest.raises(DatasetError, match="not valid: 1 defect") as found:
        snapshot(path, report, folder(tmp_path), VALUES, tokenizer=tokenizer)
    assert "docs/errors.md#invalid-file" in str(found.value)


def test_an_implausible_share_of_trained_tokens_is_refused_by_its_name(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    doc = tf.document(3, 4)
    for conversation in doc["conversations"]:
        for pair in conversation["training_pairs"]:
            pair["system_prompt"] = tf.PROMPT * 60
    path = tf.write_json(tmp_path / "x.json", doc)
    report = validate_file(path, tokenizer=tokenizer, runner=runner, max_length=10**6)
    with pytest.raises(DatasetError, match="tokens would be trained on") as found:
        snapshot(path, report, folder(tmp_path), VALUES, tokenizer=tokenizer)
    assert "docs/errors.md#supervised-share" in str(found.value)


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


def test_a_file_that_says_a_conversation_twice_is_never_split(
    tmp_path: Path, runner: Runner, tokenizer: ChatTokenizer
) -> None:
    """It would be measured on what was trained."""
    doc = tf.document(6)
    doc["conversations"].append(json.loads(json.dumps(doc["conversations"][0])))
    doc["conversations"][-1]["conversation_metadata"]["conversation_id"] = "another-id"
    path = tf.write_json(tmp_path / "x.json", tf.counted(doc))
    report = validate_file(path, tokenizer=tokenizer, runner=runner)
    with pytest.raises(DatasetError) as error:
        snapshot(path, report, folder(tmp_path), VALUES, tokenizer=tokenizer)
    assert error.value.fault == "invalid_file"
    assert "Conversation 7: it says word for word the same as conversation 1" in str(error.value)
    assert not (tmp_path / "storage").exists()


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
