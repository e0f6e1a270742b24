"""Validate a training file: every defect at once, located, with its mend.

Shape (syntax, keys, types) is found while reading (brightrun.reading); values are judged by the
suites in expectations/suites over frames of lengths, hashes and flags.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from brightrun.bytestream import Progress
from brightrun.conversations import Conversation, DefectLog, FileReport, RowFacts
from brightrun.reading import TrainingFile
from brightrun.records import ConversationRecord
from brightrun.tokens import ChatTokenizer
from expectations.columns import Columns
from expectations.runner import Runner
from expectations.totals import Counts, Repeats, conversation_row, file_row
from expectations.turns import turn_rows

CHARACTERS_PER_TOKEN = 4.66
"""Measured for the Llama-3 tokenizer on real files (7 files, 142 conversations)."""
AT_ONCE = 64


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
    quality_min: float | None = None,
    max_json_gb: float = 20.0,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> FileReport:
    """Read the file once and judge it. A bad file gives a report with errors, never an exception.

    max_length: tokens. progress(bytes done, bytes in all). Without a tokenizer, tokens are
    characters / 4.66. DatasetError when the file does not exist or cannot be opened.
    """
    log = DefectLog()
    file = TrainingFile(path, log, progress, max_json_gb)
    found = Gathered()
    records = iter(file)
    while batch := list(islice(records, AT_ONCE)):
        conversations = [record.conversation(quality_min) for record in batch]
        lengths = _lengths(conversations, tokenizer)
        for record, conversation, length in zip(batch, conversations, lengths, strict=True):
            found.rows.append(_facts(record, conversation, length))
            found.ids.append(record.conversation_id)
            found.counts.add(record, quality_min)
            row = conversation_row(record, found.repeats, length[0], max_length)
            found.conversations.add(row)
            for flags in turn_rows(record, file.format):
                found.turns.add(flags)
    whole = Columns()
    whole.add(file_row(file, found.counts, quality_min))
    runner = runner or Runner()
    runner.apply("turns", found.turns, log, found.ids)
    runner.apply("conversations", found.conversations, log, found.ids)
    runner.apply("file", whole, log)
    return _report(file, found, log, exact=tokenizer is not None)


def _lengths(
    conversations: list[Conversation], tokenizer: ChatTokenizer | None
) -> Iterator[tuple[int, int, int]]:
    """(tokens, supervised tokens, characters) of each conversation's one sequence."""
    messages = [conversation.messages() for conversation in conversations]
    counts = tokenizer.lengths(messages) if tokenizer is not None else None
    for number, sequence in enumerate(messages):
        characters = sum(len(m["content"]) for m in sequence)
        if len(sequence) == 1:
            yield 0, 0, 0  # no answer to train on: not in the training data
        elif counts is not None:
            yield *counts[number], characters
        else:
            trained = sum(
                len(m["content"])
                for m in sequence
                if m["role"] == "assistant" and m.get("supervised", True)
            )
            yield _about(characters), _about(trained), characters


def _about(characters: int) -> int:
    return math.ceil(characters / CHARACTERS_PER_TOKEN)


def _facts(
    record: ConversationRecord, conversation: Conversation, length: tuple[int, int, int]
) -> RowFacts:
    tokens, supervised_tokens, characters = length
    return RowFacts(
        conversation_id=conversation.conversation_id,
        index=record.index,
        arc=record.arc,
        persona=record.persona,
        pairs=len(record.pairs),
        supervised_pairs=conversation.supervised_pairs,
        tokens=tokens,
        supervised_tokens=supervised_tokens,
        characters=characters,
    )


def _report(file: TrainingFile, found: Gathered, log: DefectLog, *, exact: bool) -> FileReport:
    rows = found.rows
    return FileReport(
        path=file.path,
        name=file.path.stem,
        format=file.format,
        sha256=file.sha256,
        valid=not log.failed,
        conversations=len(rows),
        pairs=file.pairs,
        supervised_pairs=sum(row.supervised_pairs for row in rows),
        tokens=sum(row.tokens for row in rows),
        supervised_tokens=sum(row.supervised_tokens for row in rows),
        tokens_exact=exact,
        longest=max((row.tokens for row in rows), default=0),
        system_prompt=found.repeats.prompt or "",
        arcs=dict(Counter(row.arc for row in rows)),
        personas=dict(Counter(row.persona for row in rows)),
        errors=log.listed(),
        warnings=log.listed(warning=True),
        rows=tuple(rows),
    )
