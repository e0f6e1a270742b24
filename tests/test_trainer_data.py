"""What is trained on: labels, hashes, and an order that is a pure function of seed and epoch."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from genuine_templates import byte_tokenizer
from trainer_jobs import SMALL, conversation, lay_out, row, tiny_models
from training_files import EXAMPLE

from brightrun.chat import TEMPLATES, Family
from brightrun.conversations import Message
from brightrun.errors import DatasetError, StorageError, TrainerError
from brightrun.jobs import JobSpec
from brightrun.reading import conversations
from brightrun.splitting import parts_of
from brightrun.tokens import ChatTokenizer
from trainer import data
from trainer.pod import Pod

NAMES = [f"c{n}" for n in range(7)]


def test_order_is_a_permutation_that_depends_on_seed_and_epoch_only() -> None:
    assert sorted(data.order(1, 0, NAMES)) == list(range(7))
    assert data.order(1, 0, NAMES) == data.order(1, 0, NAMES)
    assert data.order(1, 0, NAMES) != data.order(1, 1, NAMES)
    assert data.order(1, 0, NAMES) != data.order(2, 0, NAMES)


def test_every_epoch_takes_each_sample_once_and_keeps_its_short_last_step() -> None:
    plan = data.steps(1, 2, 3, NAMES)
    assert [len(step) for step in plan] == [3, 3, 1, 3, 3, 1]
    for epoch in (plan[:3], plan[3:]):
        assert sorted(position for step in epoch for position in step) == list(range(7))


def test_labels_are_the_assistant_text_with_its_end_of_turn(tokenizer: ChatTokenizer) -> None:
    messages = conversation(3)
    (sample,) = data.samples([row(3, messages, tokenizer)], tokenizer, "conversation", 1024)
    trained = [label for label in sample.labels if label != data.IGNORED]
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    assert tokenizer.decode(trained) == "".join(answers)
    assert trained.count(tokenizer.eot_id) == len(answers)
    kept = [i for i, on in zip(sample.ids, sample.content, strict=True) if on]
    assert tokenizer.eot_id not in kept
    assert sample.supervised == len(trained) == len(kept) + len(answers)


def test_pairs_train_on_the_same_tokens_as_their_conversation(tokenizer: ChatTokenizer) -> None:
    rows = [row(3, conversation(3), tokenizer)]
    (whole,) = data.samples(rows, tokenizer, "conversation", 1024)
    pairs = data.samples(rows, tokenizer, "pair", 1024)
    assert [p.sample_id for p in pairs] == [f"conversation-3#{n}" for n in (2, 4, 6)]
    assert sum(p.supervised for p in pairs) == whole.supervised
    joined = [label for p in pairs for label in p.labels if label != data.IGNORED]
    assert joined == [label for label in whole.labels if label != data.IGNORED]


def test_pairs_leave_out_answers_that_the_quality_filter_left_out(
    tokenizer: ChatTokenizer,
) -> None:
    messages: list[Message] = [*conversation(3)]
    messages[2] = {**messages[2], "supervised": False}
    rows = [row(3, messages, tokenizer)]
    (whole,) = data.samples(rows, tokenizer, "conversation", 1024)
    pairs = data.samples(rows, tokenizer, "pair", 1024)
    assert [p.sample_id for p in pairs] == ["conversation-3#4", "conversation-3#6"]
    learned = [label for p in pairs for label in p.labels if label != data.IGNORED]
    assert learned == [label for label in whole.labels if label != data.IGNORED]


@pytest.mark.parametrize("sequence", ["conversation", "pair"])
def test_parts_train_on_the_same_tokens_as_the_whole(
    sequence: Literal["conversation", "pair"], tokenizer: ChatTokenizer
) -> None:
    messages = conversation(1, pairs=6)
    (whole,) = data.samples([row(1, messages, tokenizer)], tokenizer, "conversation", 2048)
    cut = parts_of(messages, 320, lambda many: [n for n, _ in tokenizer.lengths(many)])
    rows = [{**row(1, said, tokenizer), "part": n} for n, said in enumerate(cut, start=1)]
    parts = data.samples(rows, tokenizer, sequence, 320)
    assert len(cut) > 1
    assert parts[0].sample_id.startswith("conversation-1/1")
    assert {part.conversation_id for part in parts} == {"conversation-1"}
    learned = [label for part in parts for label in part.labels if label != data.IGNORED]
    assert learned == [label for label in whole.labels if label != data.IGNORED]


@pytest.mark.parametrize("family", TEMPLATES)
def test_counted_at_the_snapshot_is_trained_on_whatever_the_template(family: Family) -> None:
    tokenizer = ChatTokenizer(byte_tokenizer(family), family)
    found = [one.messages() for one in islice(conversations(EXAMPLE), 6)]
    rows = [row(number, messages, tokenizer) for number, messages in enumerate(found)]
    counted = sum(supervised for _, supervised in tokenizer.lengths(found))
    answers = [m["content"] for one in found for m in one if m["role"] == "assistant"]
    # One token per byte, and the end of each turn.
    assert counted == sum(len(answer.encode()) + 1 for answer in answers)
    modes: tuple[Literal["conversation", "pair"], ...] = ("conversation", "pair")
    for mode in modes:
        made = data.samples(rows, tokenizer, mode, 60_000)
        assert sum(sample.supervised for sample in made) == counted


def test_other_tokens_than_planned_stop_the_job(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    folder = lay_out(tmp_path, tiny_models(), SMALL)
    spec = JobSpec.model_validate(folder.read_json("spec.json")["spec"])
    loaded = data.load(folder, spec, tokenizer)
    assert loaded.facts["supervised_tokens"] == spec.data.supervised_tokens
    assert loaded.facts["template_compared"] == 9
    less = spec.data.model_copy(update={"supervised_tokens": spec.data.supervised_tokens - 1})
    with pytest.raises(TrainerError, match="were planned") as caught:
        data.load(folder, spec.model_copy(update={"data": less}), tokenizer)
    assert caught.value.fault == "token_count"


def test_a_conversation_without_supervised_tokens_stops_the_job(tokenizer: ChatTokenizer) -> None:
    only_asking = {"conversation_id": "c", "messages": conversation(1)[:2]}
    with pytest.raises(DatasetError, match="conversation c has no supervised token"):
        data.samples([only_asking], tokenizer, "conversation", 1024)


def test_a_conversation_that_is_too_long_is_refused_with_its_size(tokenizer: ChatTokenizer) -> None:
    made = row(1, conversation(1), tokenizer)
    fewer = made["tokens"] - 1
    with pytest.raises(DatasetError, match=f"conversation-1 has {made['tokens']} tokens") as caught:
        data.samples([made], tokenizer, "conversation", fewer)
    assert caught.value.fix.startswith("raise max_length")
    with pytest.raises(DatasetError) as caught:
        data.samples([made], tokenizer, "conversation", fewer, context=fewer)
    assert "max_length" not in caught.value.fix
    assert "a base model with a longer context" in caught.value.fix
    assert "--set too_long=split" in caught.value.fix


def test_data_with_another_hash_than_the_specs_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = lay_out(tmp_path, tiny_models(), SMALL)
    spec = JobSpec.model_validate(folder.read_json("spec.json")["spec"])
    assert len(data.read_rows(folder, spec, "train")) == 7
    changed = folder.read_bytes("data/train.jsonl").replace(b"afraid", b"AFRAID", 1)
    folder.write_bytes("data/train.jsonl", changed)
    with pytest.raises(StorageError, match="planned with"):
        data.read_rows(folder, spec, "train")


def test_a_pod_warns_that_nothing_was_compared_with_a_model_without_a_template(
    tmp_path: Path,
) -> None:
    from trainer.attempt import Attempt
    from trainer.prepare import prepare
    from trainer.reporter import Reporter

    models, plain = tmp_path / "models", tmp_path / "plain"
    files = shutil.ignore_patterns("chat_template.jinja", "prepared.json")
    shutil.copytree(tiny_models() / "tiny", plain, ignore=files)
    prepare(str(plain), models, fetch=False)
    folder = lay_out(tmp_path / "storage", models, SMALL, base=str(plain))
    spec = JobSpec.model_validate(folder.read_json("spec.json")["spec"])
    reporter = Reporter(folder, 1, {})
    pod = Pod("job", 1, "", models, 1)
    missing = cast(Any, None)
    attempt = Attempt(pod, cast(Any, folder), reporter, missing, tmp_path, group=missing)
    detail: dict[str, Any] = {}
    attempt.preprocess(spec, detail)
    reporter.flush()
    assert detail["template_compared"] == 0
    (said,) = [e.payload for e in folder.events(1) if e.type == "warning"]
    assert said["fault"] == "template_unproven"
    assert said["fix"]
