"""The snapshot as sequences of token ids with labels, and the order they are trained in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from brightrun.conversations import Message
from brightrun.errors import DatasetError, StorageError, TrainerError
from brightrun.jobs import JobSpec
from brightrun.proof import prove
from brightrun.runfolder import RunFolder
from brightrun.splitting import longer, trained
from brightrun.tokens import ChatTokenizer, Encoded
from trainer.tokencache import TokenCache

IGNORED = -100
Messages = list[Message]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence. `labels` are the ids where trained on, else -100; `content` without the
    end-of-turn tokens; all three have the length of `ids`. sample_id: the conversation's id, with
    `/part` when it is split, with `#message` per pair."""

    sample_id: str
    conversation_id: str
    arc: str
    ids: tuple[int, ...]
    labels: tuple[int, ...]
    content: tuple[bool, ...]

    @property
    def supervised(self) -> int:
        """Labelled tokens that are predicted (the first token of a sequence never is)."""
        return sum(label != IGNORED for label in self.labels[1:])


def read_spec(folder: RunFolder) -> JobSpec:
    """spec.json; StorageError when its hash is not that of its content."""
    record = folder.read_json("spec.json")
    spec = JobSpec.model_validate(record["spec"])
    if spec.spec_hash() != record["spec_hash"]:
        raise StorageError(
            f"spec.json says hash {record['spec_hash'][:12]}..., its content has "
            f"{spec.spec_hash()[:12]}...",
            cause="the file was changed after the job was planned",
            fix="start a new job",
            fault="data_changed",
        )
    return spec


def read_rows(folder: RunFolder, spec: JobSpec, part: Literal["train", "validation"]) -> list[Any]:
    """Rows of data/{part}.jsonl; StorageError when its sha256 is not the spec's."""
    relative = f"data/{part}.jsonl"
    data = folder.read_bytes(relative)
    wanted = spec.data.train_sha256 if part == "train" else spec.data.validation_sha256
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise StorageError(
            f"{relative} has sha256 {found[:12]}..., the job was planned with {wanted[:12]}...",
            cause="the file was changed or damaged after the snapshot was taken",
            fix="start a new job from the training file",
            fault="data_changed",
        )
    return [json.loads(line) for line in data.splitlines() if line.strip()]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The job's sequences, and what the preprocessing stage tells of them."""

    training: list[Sample]
    held_out: list[Sample]
    facts: dict[str, Any]


def load(
    folder: RunFolder, spec: JobSpec, tokenizer: ChatTokenizer, cache: TokenCache | None = None
) -> Loaded:
    """Read, prove and tokenise the snapshot; what the cache has is not tokenised again.

    ConfigurationError when our chat template does not write what the base model's own writes;
    TrainerError when other tokens would be trained on than were planned.
    """
    context = spec.base_model.context
    limit = min(spec.values.max_length, context)
    rows = read_rows(folder, spec, "train")
    held = read_rows(folder, spec, "validation")
    named = ((str(row["conversation_id"]), row["messages"]) for row in [*rows, *held])
    compared = prove(tokenizer, named)
    mode = spec.values.sequence
    encode = tokenizer.encode_many if cache is None else partial(cache.encoded, tokenizer)
    training = samples(rows, tokenizer, mode, limit, encode, context)
    held_out = samples(held, tokenizer, "conversation", limit, encode, context)
    supervised = sum(sample.supervised for sample in training)
    if supervised != spec.data.supervised_tokens:
        raise TrainerError(
            f"{supervised:,} supervised tokens would be trained on, "
            f"{spec.data.supervised_tokens:,} were planned",
            cause="the pod's tokenizer or chat template is not the one of the plan",
            fix="prepare the base model anew on both machines, then start a new job",
            fault="token_count",
        )
    facts = {
        "sequences": len(training),
        "tokens": sum(len(sample.ids) for sample in training),
        "supervised_tokens": supervised,
        "template": tokenizer.family,
        "tokenizer_sha256": tokenizer.sha256,
        "template_compared": compared,
        "token_cache": cache.told if cache is not None else [],
    }
    return Loaded(training, held_out, facts)


def samples(
    rows: list[Any],
    tokenizer: ChatTokenizer,
    sequence: Literal["conversation", "pair"],
    max_length: int,
    encode: Callable[[list[Messages]], list[Encoded]] | None = None,
    context: int | None = None,
) -> list[Sample]:
    """Tokenised rows, by `encode` or the tokenizer itself; context: the base model's own limit.

    DatasetError for a sequence that is too long or has nothing to learn.
    """
    made = [(row, name, said) for row in rows for name, said in _sequences(row, sequence)]
    encoded = (encode or tokenizer.encode_many)([said for _, _, said in made])
    found: list[Sample] = []
    for (row, name, _), one in zip(made, encoded, strict=True):
        tokenizer.check_beginning(one.input_ids)
        sample = _sample(name, row, one)
        if len(sample.ids) > max_length:
            raise DatasetError(
                f"conversation {name} has {len(sample.ids)} tokens, more than {max_length}",
                fix=f"{longer(max_length, context)}, or use --set too_long=split",
                fault="too_long",
            )
        if not sample.supervised:
            raise DatasetError(
                f"conversation {name} has no supervised token", fault="no_supervised_tokens"
            )
        found.append(sample)
    return found


def order(seed: int, epoch: int, names: list[str]) -> list[int]:
    """Positions of the samples in the order of an epoch (0-based): a pure function."""
    keys = [
        hashlib.sha256(f"{seed}:{epoch}:{i}:{n}".encode()).digest() for i, n in enumerate(names)
    ]
    return sorted(range(len(names)), key=keys.__getitem__)


def steps(seed: int, epochs: int, per_step: int, names: list[str]) -> list[list[int]]:
    """Positions of the samples of every optimizer step of the run.

    The last step of an epoch may be short: it is kept, and no step reaches into the next epoch.
    """
    plan: list[list[int]] = []
    for epoch in range(epochs):
        ordered = order(seed, epoch, names)
        plan += [ordered[i : i + per_step] for i in range(0, len(ordered), per_step)]
    return plan


def _sequences(
    row: Any, sequence: Literal["conversation", "pair"]
) -> Iterator[tuple[str, Messages]]:
    """(sample id, messages); of a pair only the last answer is trained on."""
    messages: Messages = row["messages"]
    name = str(row["conversation_id"])
    if "part" in row:
        name = f"{name}/{row['part']}"
    if sequence == "conversation":
        yield name, messages
        return
    context = [{**m, "supervised": False} if trained(m) else m for m in messages]
    for index, message in enumerate(messages):
        if trained(message):
            yield f"{name}#{index}", [*context[:index], message]


def _sample(name: str, row: Any, encoded: Encoded) -> Sample:
    ids = encoded.input_ids
    pairs = zip(ids, encoded.supervised, strict=True)
    labels = tuple(token if on else IGNORED for token, on in pairs)
    conversation, arc = str(row["conversation_id"]), str(row.get("arc", ""))
    return Sample(name, conversation, arc, ids, labels, encoded.content)
