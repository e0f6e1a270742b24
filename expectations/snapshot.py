"""Freeze what a job trains on: data/train.jsonl, data/validation.jsonl, then their manifest."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from brightrun.bytestream import Progress
from brightrun.conversations import Conversation, DefectLog, FileReport, Message
from brightrun.counting import count
from brightrun.errors import DatasetError
from brightrun.faults import FAULTS
from brightrun.jobs import Hyperparameters
from brightrun.proof import ENOUGH, prove
from brightrun.reading import TrainingFile
from brightrun.runfolder import MANIFEST, RunFolder, sha256_file
from brightrun.splitting import parts_of, trained
from brightrun.tokens import ChatTokenizer
from expectations.split import held_out

AT_ONCE = 64
RAISE = "raise max_length (up to the base model's context)"


@dataclass(slots=True)
class Part:
    """One of the two files: where it is written, and its totals per epoch.

    by_pair: tokens are those of one sequence per answer; sequences: rows, the parts of `split`
    conversations counted each; added_tokens: by their repeated system prompts.
    """

    path: Path
    by_pair: bool = False
    conversations: int = 0
    sequences: int = 0
    supervised_pairs: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    sum_squared_tokens: int = 0
    split: int = 0
    added_tokens: int = 0
    too_long: list[str] = field(default_factory=list)


def snapshot(
    path: Path,
    report: FileReport,
    folder: RunFolder,
    values: Hyperparameters,
    *,
    tokenizer: ChatTokenizer,
    quality_min: float | None = None,
    only: frozenset[int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Split and write the conversations of a validated file; returns the manifest.

    Conversations without an answer are left out and counted (`left_out`); only: indexes of the
    conversations to use at all (None: every one; the report is of these alone). With
    values.too_long = split, a conversation longer than values.max_length becomes several rows of
    the same file, with its id and `part`, `parts`. What is trained on has the token
    totals of values.sequence; what is held out is read whole. DatasetError when the file is invalid
    or has changed since, when a sequence is longer than values.max_length or has too few supervised
    tokens, or when there is too little to split. ConfigurationError when
    our chat template does not write what the base model's own writes.
    """
    if not report.valid:
        raise DatasetError(
            f"{path.name} is not valid: {count(len(report.errors), 'defect')}; "
            f"{report.errors[0].message}",
            fault=fault_of(report),
        )
    used = [row for row in report.rows if row.supervised_pairs]
    chosen = held_out(used, values.validation_share, values.seed)
    file = TrainingFile(path, DefectLog(), progress, max_gb=float("inf"))
    records = (record.conversation(quality_min) for record in file)
    wanted = (one for one in records if only is None or one.index in only)
    trained = (one for one in wanted if one.supervised_pairs)
    with tempfile.TemporaryDirectory(prefix="brightrun-snapshot-") as place:
        train = Part(Path(place) / "train.jsonl", by_pair=values.sequence == "pair")
        validation = Part(Path(place) / "validation.jsonl")
        compared = _write(trained, train, validation, chosen, values, tokenizer)
        _refuse_changed(report, file, (train, validation), used_count=len(used))
        _refuse_too_long((train, validation), values)
        files = {}
        for part in (train, validation):
            name, size = part.path.name, part.path.stat().st_size
            folder.upload(part.path, f"data/{name}")
            files[name] = {"size": size, "sha256": sha256_file(part.path)}
    manifest = {
        "files": files,
        "train_conversations": train.conversations,
        "validation_conversations": validation.conversations,
        "train_sequences": train.sequences,
        "validation_sequences": validation.sequences,
        "split_conversations": train.split + validation.split,
        "added_tokens": train.added_tokens + validation.added_tokens,
        "supervised_pairs": train.supervised_pairs,
        "train_tokens": train.tokens,
        "supervised_tokens": train.supervised_tokens,
        "sum_squared_tokens": train.sum_squared_tokens,
        "validation_tokens": validation.tokens,
        "validation_supervised_tokens": validation.supervised_tokens,
        "source_sha256": report.sha256,
        "left_out": len(report.rows) - len(used),
        "template": tokenizer.family,
        "template_compared": compared,
    }
    folder.write_json(f"data/{MANIFEST}", manifest)
    return manifest


def fault_of(report: FileReport) -> str:
    """Name in brightrun.faults of what a file is refused for: its first defect's, if it has one."""
    first = report.errors[0].code
    return first if first in FAULTS else "invalid_file"


def _write(
    conversations: Iterator[Conversation],
    train: Part,
    validation: Part,
    chosen: frozenset[int],
    values: Hyperparameters,
    tokenizer: ChatTokenizer,
) -> int:
    """Write the rows; how many conversations were compared with the model's own template."""
    compared = 0
    with (
        train.path.open("w", encoding="utf-8") as train_out,
        validation.path.open("w", encoding="utf-8") as validation_out,
    ):
        while batch := list(islice(conversations, AT_ONCE)):
            sequences = [one.messages() for one in batch]
            if compared < ENOUGH:
                named = ((one.conversation_id, m) for one, m in zip(batch, sequences, strict=True))
                compared += prove(tokenizer, named)
            lengths = tokenizer.lengths(sequences)
            for one, messages, length in zip(batch, sequences, lengths, strict=True):
                held = one.index in chosen
                part, out = (validation, validation_out) if held else (train, train_out)
                for row in _rows(one, messages, length, part, values, tokenizer):
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
                    _add(part, row, values, tokenizer)
    return compared


def _rows(
    one: Conversation,
    messages: list[Message],
    length: tuple[int, int],
    part: Part,
    values: Hyperparameters,
    tokenizer: ChatTokenizer,
) -> Iterator[dict[str, Any]]:
    """The conversation's one row, or those of its parts."""
    part.conversations += 1
    if length[0] <= values.max_length or values.too_long == "refuse":
        yield _row(one, messages, length)
        return
    cut = parts_of(
        messages, values.max_length, lambda parts: [n for n, _ in tokenizer.lengths(parts)]
    )
    lengths = tokenizer.lengths(cut)
    if sum(supervised for _, supervised in lengths) != length[1]:
        raise DatasetError(
            f"conversation {one.index}: {length[1]} supervised tokens before it is split, "
            f"{sum(supervised for _, supervised in lengths)} after",
            cause="its chat template writes an answer differently at another place",
            fix="raise max_length to keep it whole",
            fault="too_long",
        )
    part.split += len(cut) > 1
    part.added_tokens += sum(tokens for tokens, _ in lengths) - length[0]
    for number, (said, size) in enumerate(zip(cut, lengths, strict=True), start=1):
        yield {**_row(one, said, size), "part": number, "parts": len(cut)}


def _row(one: Conversation, messages: list[Message], length: tuple[int, int]) -> dict[str, Any]:
    """A line of the file. Fewer than two tokens an answer: the mask is wrong."""
    pairs = sum(map(trained, messages))
    if length[1] < 2 * pairs:
        raise DatasetError(
            f"conversation {one.index}: {length[1]} of {length[0]} tokens would be trained on, "
            f"though it has {count(pairs, 'answer')}",
            fault="no_supervised_tokens",
        )
    return {
        "conversation_id": one.conversation_id,
        "index": one.index,
        "arc": one.arc,
        "persona": one.persona,
        "topic": one.topic,
        "messages": messages,
        "tokens": length[0],
        "supervised_tokens": length[1],
        "supervised_pairs": pairs,
    }


def _add(part: Part, row: dict[str, Any], values: Hyperparameters, tok: ChatTokenizer) -> None:
    part.sequences += 1
    part.supervised_pairs += row["supervised_pairs"]
    part.supervised_tokens += row["supervised_tokens"]
    if row["tokens"] > values.max_length:
        place = f", part {row['part']}" if "part" in row else ""
        part.too_long.append(f"conversation {row['index']}{place} ({row['tokens']:,} tokens)")
    sequences = [row["tokens"]]
    if part.by_pair:
        # The reference mode: one sequence per answer, each with all that was said before it.
        messages = row["messages"]
        answers = [at for at, message in enumerate(messages) if trained(message)]
        sequences = [tokens for tokens, _ in tok.lengths([messages[: at + 1] for at in answers])]
    part.tokens += sum(sequences)
    part.sum_squared_tokens += sum(tokens * tokens for tokens in sequences)


def _refuse_changed(
    report: FileReport, file: TrainingFile, parts: tuple[Part, Part], used_count: int
) -> None:
    written = sum(part.conversations for part in parts)
    pairs = sum(part.supervised_pairs for part in parts)
    same = written == used_count and pairs == report.supervised_pairs
    if file.sha256 != report.sha256:
        raise DatasetError(
            f"{report.path.name} has changed since it was validated "
            f"({report.sha256[:12]} -> {file.sha256[:12]})",
            fault="file_changed",
        )
    if not same:
        raise DatasetError(
            f"{count(pairs, 'supervised pair')} in {count(written, 'conversation')}, "
            f"validated were {report.supervised_pairs} in {used_count}",
            cause="another quality filter than at validation",
            fix="validate and train with the same quality filter",
            fault="file_changed",
        )


def _refuse_too_long(parts: tuple[Part, Part], values: Hyperparameters) -> None:
    found = [place for part in parts for place in part.too_long]
    if found:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise DatasetError(
            f"longer than max_length = {values.max_length}: {count(len(found), 'conversation')}: "
            f"{shown}",
            cause="nothing is cut silently: a cut sequence loses its last answers",
            fix=RAISE if values.too_long == "split" else f"{RAISE}, or use --set too_long=split",
            fault="too_long",
        )
