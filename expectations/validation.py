"""Validate a training file: every defect at once, located, with its mend.

Shape (syntax, keys, types) is found while reading (brightrun.reading); values are judged by the
suites in expectations/suites over frames of lengths, hashes and flags.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from brightrun.bytestream import Progress
from brightrun.conversations import (
    CHARACTERS_PER_TOKEN,
    Conversation,
    DefectLog,
    FileReport,
    Message,
    RowFacts,
)
from brightrun.reading import TrainingFile
from brightrun.records import ConversationRecord
from brightrun.splitting import longer, parts_of, trained
from brightrun.tokens import ChatTokenizer
from expectations.columns import Columns
from expectations.privacy import Privacy
from expectations.runner import Runner
from expectations.totals import Counts, Repeats, conversation_row, file_row
from expectations.turns import turn_rows

AT_ONCE = 64
# Where each form keeps what is asked of the file and of a conversation.
KEYS: dict[str, dict[str, str]] = {
    "json": {
        "head": "training_file_metadata",
        "id_key": "conversation_metadata.conversation_id",
        "arc_key": "conversation_metadata.scaffolding.emotional_arc_key",
        "persona_key": "conversation_metadata.scaffolding.persona_key",
    },
    "jsonl": {
        "head": "_meta",
        "id_key": "conversation_id",
        "arc_key": "conversation_metadata.emotional_arc_key",
        "persona_key": "conversation_metadata.persona_archetype",
    },
}


@dataclass(slots=True)
class Gathered:
    """What one pass over the file leaves: packed columns and one RowFacts per conversation."""

    turns: Columns = field(default_factory=Columns)
    conversations: Columns = field(default_factory=Columns)
    ids: list[str | None] = field(default_factory=list)
    rows: list[RowFacts] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    repeats: Repeats = field(default_factory=Repeats)


def validate_file(
    path: Path,
    *,
    tokenizer: ChatTokenizer | None = None,
    max_length: int = 8192,
    context: int | None = None,
    too_long: Literal["refuse", "split"] = "refuse",
    quality_min: float | None = None,
    max_json_gb: float = 20.0,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> FileReport:
    """Read the file once and judge it. A bad file gives a report with errors, never an exception.

    max_length: tokens; a longer conversation is a defect, or split; context: the most that the base
    model can read, None while it is not known. progress(bytes done, bytes in
    all). Without a tokenizer, tokens are characters / 4.66. DatasetError when the file does not
    exist or cannot be opened.
    """
    log = DefectLog()
    file = TrainingFile(path, log, progress, max_json_gb)
    found, privacy = Gathered(), Privacy()
    records = iter(file)
    while batch := list(islice(records, AT_ONCE)):
        conversations = [record.conversation(quality_min) for record in batch]
        lengths = _lengths(conversations, tokenizer, max_length if too_long == "split" else 0)
        for record, conversation, length in zip(batch, conversations, lengths, strict=True):
            found.rows.append(_facts(record, conversation, length))
            found.ids.append(record.conversation_id)
            found.counts.add(record, quality_min)
            row = conversation_row(record, found.repeats, found.rows[-1], max_length)
            found.conversations.add(row)
            for flags in turn_rows(record, file.format):
                found.turns.add(flags)
            for defect in privacy.defects(conversation, record):
                log.add(defect, warning=True)
    whole = Columns()
    whole.add(file_row(file, found.counts, quality_min, _totals(found.rows)))
    runner = runner or Runner()
    runner.apply("turns", found.turns, log, found.ids)
    words = {"longer": longer(max_length, context), **_said(file)}
    runner.apply("conversations", found.conversations, log, found.ids, words)
    runner.apply("file", whole, log, words=words)
    return _report(file, found, log, exact=tokenizer is not None)


def _said(file: TrainingFile) -> dict[str, str]:
    """Its name, its keys, and what the file calls itself, short and printable."""
    said = {"said_format": file.declared.format_spec, "said_version": file.declared.version}
    shown = {key: ascii((text or "")[:60])[1:-1] for key, text in said.items()}
    return {"file": file.path.name, **KEYS[file.format], **shown}


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens of one conversation; `parts`: of each part when it is split, else empty."""

    tokens: int = 0
    supervised: int = 0
    characters: int = 0
    parts: tuple[int, ...] = ()


def _lengths(
    conversations: list[Conversation], tokenizer: ChatTokenizer | None, split_above: int
) -> Iterator[Length]:
    """Of each conversation; one longer than split_above tokens is split (0: none is)."""
    messages = [conversation.messages() for conversation in conversations]
    counts = _counts(messages, tokenizer)
    for sequence, (tokens, supervised) in zip(messages, counts, strict=True):
        if len(sequence) == 1:
            yield Length()  # no answer to train on: not in the training data
            continue
        parts: tuple[int, ...] = ()
        if split_above and tokens > split_above:
            cut = parts_of(sequence, split_above, partial(_sizes, tokenizer=tokenizer))
            parts = tuple(_sizes(cut, tokenizer))
        characters = sum(len(m["content"]) for m in sequence)
        yield Length(tokens, supervised, characters, parts)


def _sizes(sequences: list[list[Message]], tokenizer: ChatTokenizer | None) -> list[int]:
    return [tokens for tokens, _ in _counts(sequences, tokenizer)]


def _counts(
    sequences: list[list[Message]], tokenizer: ChatTokenizer | None
) -> list[tuple[int, int]]:
    """(tokens, supervised tokens) of each sequence."""
    if tokenizer is not None:
        return tokenizer.lengths(sequences)
    return [
        (_about(sequence), _about([m for m in sequence if trained(m)])) for sequence in sequences
    ]


def _about(messages: list[Message]) -> int:
    return math.ceil(sum(len(m["content"]) for m in messages) / CHARACTERS_PER_TOKEN)


def _facts(record: ConversationRecord, conversation: Conversation, length: Length) -> RowFacts:
    tokens = sum(length.parts) or length.tokens
    return RowFacts(
        conversation_id=conversation.conversation_id,
        index=record.index,
        arc=record.arc,
        persona=record.persona,
        pairs=len(record.pairs),
        supervised_pairs=conversation.supervised_pairs,
        tokens=tokens,
        supervised_tokens=length.supervised,
        characters=length.characters,
        parts=length.parts,
        added_tokens=tokens - length.tokens,
    )


def _totals(rows: list[RowFacts]) -> tuple[int, int]:
    return sum(row.tokens for row in rows), sum(row.supervised_tokens for row in rows)


def _report(file: TrainingFile, found: Gathered, log: DefectLog, *, exact: bool) -> FileReport:
    rows = found.rows
    tokens, supervised = _totals(rows)
    return FileReport(
        path=file.path,
        name=file.path.stem,
        format=file.format,
        sha256=file.sha256,
        valid=not log.failed,
        conversations=len(rows),
        pairs=file.pairs,
        supervised_pairs=sum(row.supervised_pairs for row in rows),
        tokens=tokens,
        supervised_tokens=supervised,
        tokens_exact=exact,
        longest=max((size for row in rows for size in row.sequences), default=0),
        system_prompt=found.repeats.prompt or "",
        arcs=dict(Counter(row.arc for row in rows)),
        personas=dict(Counter(row.persona for row in rows)),
        errors=log.listed(),
        warnings=log.listed(warning=True),
        notes=tuple(log.notes),
        rows=tuple(rows),
    )
