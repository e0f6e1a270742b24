"""Read a training file, JSON or JSONL, conversation by conversation, in constant memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from brightrun.bytestream import ByteStream, Progress, archive, first_bytes, foreign_encoding
from brightrun.conversations import Conversation, Defect, DefectLog
from brightrun.errors import DatasetError
from brightrun.jsonstream import JsonStream, top_level_types
from brightrun.linestream import LineStream
from brightrun.records import ConversationRecord, PairRecord, pair_record, scaffold
from brightrun.shapes import Place, Shape, is_printable, type_name

# How only a JSON document can begin: with its own keys, or with a brace alone on its line.
DOCUMENT = re.compile(rb'\{\s*"(training_file_metadata|conversations)"|\{[ \t\r]*\n')


@dataclass(slots=True)
class Declared:
    """What the file says of itself; None = not said, or said wrongly and logged."""

    format_spec: str | None = None
    version: str | None = None
    conversations: int | None = None
    pairs: int | None = None


class TrainingFile:
    """Iterate to get ConversationRecords; `declared` and `sha256` are filled by then.

    Problems of syntax, keys and types go to `log`, located; reading goes on as far as it can.
    `complete` is False when something made the file's end or its structure unreadable.
    """

    def __init__(
        self, path: Path, log: DefectLog, progress: Progress | None = None, max_gb: float = 20.0
    ) -> None:
        self.path = path
        self.log = log
        self.max_gb = max_gb
        self.stream = ByteStream(path, log, progress)
        self.format: Literal["json", "jsonl"] = format_of(path)
        self.declared = Declared()
        self.complete = True
        self.pairs = 0

    @property
    def sha256(self) -> str:
        return self.stream.sha256

    def __iter__(self) -> Iterator[ConversationRecord]:
        encoding = foreign_encoding(self.path)
        if encoding is not None:
            self._refuse("invalid_utf8", f"it is {encoding}, expected UTF-8", "save it as UTF-8")
        elif (packed := archive(self.path)) is not None:
            what = f"it is compressed ({packed}), expected JSON or JSONL; nothing is unpacked here"
            self._refuse("compressed", what, "unpack it yourself and look at its size first")
        elif self.format == "json" and self.stream.size > self.max_gb * 1e9:
            size = f"{self.stream.size / 1e9:,.1f} GB in one JSON document"
            self._refuse(
                "json_too_large",
                f"{size}, the limit is {self.max_gb:g} GB",
                "export it as JSONL, or raise BRIGHTRUN_MAX_JSON_GB",
            )
        elif self.format == "json":
            yield from self._json()
        else:
            yield from self._jsonl()

    def _whole(self) -> Place:
        return Place(file=self.path.name)

    def _refuse(self, code: str, what: str, fix: str) -> None:
        self.complete = False
        self.log.add(self._whole().defect(code, what, fix=fix))
        silent = ByteStream(self.path, DefectLog())
        for _ in silent.chunks():
            pass
        self.stream.sha256 = silent.sha256

    # --- one JSON document ---------------------------------------------------------------
    def _json(self) -> Iterator[ConversationRecord]:
        document = JsonStream(self.stream, self.log)
        for index, value in enumerate(document.items(), start=1):
            yield self._conversation(index, value)
        self.complete = document.complete
        heads = document.heads
        if document.complete and (not document.found or len(heads) < 2):
            self._explain(heads)
        if "training_file_metadata" in heads:
            self._declared(heads)

    def _explain(self, heads: dict[str, Any]) -> None:
        """Say which top-level parts are missing or of the wrong type."""
        document, types = top_level_types(ByteStream(self.path, DefectLog()))
        top = self._whole()
        again = "export the training file again in the format brightrun-lora-v4"
        if document != "an object":
            self.complete = False
            what = f"it holds {document}, expected an object with 'conversations'"
            self.log.add(top.defect("wrong_type", what, fix=again))
            return
        if "training_file_metadata" not in types:
            what = "'training_file_metadata' is missing"
            self.log.add(top.defect("missing_key", what, field="training_file_metadata", fix=again))
        if types.get("conversations", "a list") != "a list":
            self.complete = False
            what = f"'conversations' is {types['conversations']}, expected a list"
            self.log.add(top.defect("wrong_type", what, field="conversations", fix=again))
        elif "conversations" not in types:
            self.complete = False
            what = "'conversations' is missing"
            self.log.add(top.defect("missing_key", what, field="conversations", fix=again))
        if "consultant_profile" not in types:
            what = "'consultant_profile' is missing"
            found = top.defect("missing_key", what, field="consultant_profile", fix=again)
            self.log.add(found, warning=True)

    def _declared(self, heads: dict[str, Any]) -> None:
        metadata = Shape(heads, self._whole(), self.log).object("training_file_metadata")
        if metadata is None:
            return
        shape = Shape(metadata, self._whole(), self.log, "training_file_metadata.")
        version = metadata.get("version")
        self.declared = Declared(
            format_spec=shape.text("format_spec"),
            version=version if isinstance(version, str) else None,
            conversations=shape.count("total_conversations"),
            pairs=shape.count("total_training_pairs"),
        )

    def _conversation(self, index: int, value: object) -> ConversationRecord:
        record = ConversationRecord(index)
        place = Place(conversation=index)
        if not isinstance(value, dict):
            what = f"it is {type_name(value)}, expected an object"
            self.log.add(place.defect("wrong_type", what, fix="remove it or export again"))
            return record
        shape = Shape(value, place, self.log)
        metadata = shape.object("conversation_metadata")
        if metadata is not None:
            inner = Shape(metadata, place, self.log, "conversation_metadata.")
            record.conversation_id = inner.identifier("conversation_id")
            record.total_turns = inner.count("total_turns")
            if metadata.get("scaffolding") is not None:
                scaffold(record, inner.object("scaffolding"))
        for pair in shape.list("training_pairs") or []:
            self._pair(record, pair, None)
        if value.get("training_pairs") == []:
            place = Place(index, record.conversation_id)
            what = "'training_pairs' is empty"
            fix = "remove the conversation or give it its turns"
            self.log.add(place.defect("empty_conversation", what, field="training_pairs", fix=fix))
        return record

    def _pair(self, record: ConversationRecord, value: object, line: int | None) -> None:
        self.pairs += 1
        number = value.get("turn_number") if isinstance(value, dict) else None
        turn = number if type(number) is int and 0 < number < 2**31 else None
        place = Place(record.index, record.conversation_id, turn, self.pairs, line)
        if not isinstance(value, dict):
            what = f"it is {type_name(value)}, expected an object"
            self.log.add(place.defect("wrong_type", what, fix="remove it or export again"))
            record.pairs.append(PairRecord(self.pairs, line))
            return
        record.pairs.append(pair_record(value, place, self.log))
        scaffold(record, value.get("conversation_metadata"))

    # --- one pair a line ---------------------------------------------------------------------
    def _jsonl(self) -> Iterator[ConversationRecord]:
        record: ConversationRecord | None = None
        index, meta = 0, False
        lines = LineStream(self.stream, self.log)
        for line, value in lines.items():
            if "_meta" in value and not meta and (not self.pairs or "turn_number" not in value):
                meta = True
                self._meta(value, line)
                continue
            name = value.get("conversation_id")
            name = name if isinstance(name, str) and name.strip() and is_printable(name) else None
            if record is None or _starts_anew(record, name, value.get("turn_number")):
                if record is not None:
                    yield record
                index += 1
                record = ConversationRecord(index, line, name)
            self._pair(record, value, line)
        if record is not None:
            yield record
        self.complete = lines.complete
        if lines.complete and not meta:
            what = 'the first line must be {"_meta": {file_name, total_pairs, version}}'
            found = Place(line=1).defect("missing_key", what, field="_meta", fix="export it again")
            self.log.add(found)

    def _meta(self, value: dict[str, Any], line: int) -> None:
        place = Place(line=line)
        meta = Shape(value, place, self.log).object("_meta")
        if meta is None:
            return
        shape = Shape(meta, place, self.log, "_meta.")
        said = meta.get("format_spec")
        self.declared = Declared(
            format_spec=said if isinstance(said, str) else None,
            version=shape.text("version"),
            pairs=shape.count("total_pairs"),
        )


def _starts_anew(record: ConversationRecord, name: str | None, turn: object) -> bool:
    """Whether this line begins another conversation: another id, or the first turn again."""
    if name is None:
        return False  # a line that lost its id stays with its neighbours
    if record.conversation_id is None:
        record.conversation_id = name
        return False
    if name != record.conversation_id:
        return True
    numbers = [p.turn_number for p in record.pairs if p.turn_number is not None]
    return len(numbers) > 1 and turn == numbers[0] and numbers[-1] > numbers[0]


def format_of(path: Path) -> Literal["json", "jsonl"]:
    """By content where the first line tells, else by the name's ending."""
    head = first_bytes(path).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b'{"_meta"'):
        return "jsonl"
    if DOCUMENT.match(head):
        return "json"
    return "jsonl" if path.suffix.lower() in (".jsonl", ".ndjson") else "json"


def conversations(path: Path, *, quality_min: float | None = None) -> Iterator[Conversation]:
    """Conversations of a valid file, streamed. DatasetError at the end of a broken one."""
    log = DefectLog()
    for record in TrainingFile(path, log, max_gb=float("inf")):
        yield record.conversation(quality_min)
    first: Defect | None = next(iter(log.listed()), None)
    if first is not None:
        raise DatasetError(first.message, fix=first.fix)
