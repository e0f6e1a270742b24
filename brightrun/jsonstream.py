"""A single JSON document of any size, as a stream of its conversations (ijson, yajl in C)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import ijson
from ijson.backends import yajl2_c

from brightrun.bytestream import ByteStream
from brightrun.conversations import Defect, DefectLog

DEEPEST = 64
LARGEST_CONVERSATION = 64 << 20
HEADS = ("training_file_metadata", "consultant_profile")
BRACKETS = b"[]{}"
NOT_BRACKETS = bytes(set(range(256)) - set(BRACKETS))


class JsonStream:
    """Yields each item of `conversations`; `heads` holds the file's other known parts.

    `complete` is True when the document was read to its end without a syntax error.
    """

    def __init__(self, stream: ByteStream, log: DefectLog) -> None:
        self.stream = stream
        self.log = log
        self.heads: dict[str, Any] = {}
        self.complete = False
        self.found = 0

    def items(self) -> Iterator[Any]:
        """Items of `conversations`, of whatever type they are."""
        out = ijson.sendable_list()
        parser = yajl2_c.items_coro(out, "conversations.item", use_float=True)
        heads = {name: ijson.sendable_list() for name in HEADS}
        open_heads = {name: yajl2_c.items_coro(heads[name], name, use_float=True) for name in HEADS}
        depth = Depth()
        chunks = self.stream.chunks()
        quiet = 0
        defect: Defect | None = None
        blank = True
        for number, chunk in enumerate(chunks):
            blank = blank and not chunk.strip()
            quiet += len(chunk)
            if depth.passes(chunk):
                defect = self._unreadable(f"is nested deeper than {DEEPEST} levels")
            else:
                try:
                    parser.send(chunk)
                except ijson.JSONError as error:
                    defect = self._syntax_error(error, number)
                self._read_heads(open_heads, heads, chunk)
            if out:
                quiet = 0
                self.found += len(out)
                yield from out
                out.clear()
            if quiet > LARGEST_CONVERSATION:
                size = LARGEST_CONVERSATION >> 20
                defect = self._unreadable(f"goes on for {size} MB without a complete conversation")
            if defect is not None:
                break
        if defect is None:
            try:
                parser.close()
                self.complete = True
            except ijson.JSONError:
                defect = self._empty() if blank else self._truncated()
        if defect is not None:
            self.log.add(defect)
        self.heads = {name: found[0] for name, found in heads.items() if found}
        for _ in chunks:
            pass  # the rest still counts for the sha256 and for bad bytes

    @staticmethod
    def _read_heads(parsers: dict[str, Any], heads: dict[str, Any], chunk: bytes) -> None:
        for name in list(parsers):
            with suppress(ijson.JSONError):
                parsers[name].send(chunk)
            if heads[name]:
                del parsers[name]

    def _unreadable(self, what: str) -> Defect:
        return Defect(
            code="not_json",
            message=f"Conversation {self.found + 1}: the file {what}",
            conversation=self.found + 1,
            fix="this is no brightrun-lora-v4 file: export the training file again",
        )

    def _empty(self) -> Defect:
        return Defect(
            code="empty_file",
            message=f"File {self.stream.path.name}: it is empty",
            line=1,
            fix="export the training file again; the last export was probably interrupted",
        )

    def _truncated(self) -> Defect:
        return Defect(
            code="truncated",
            message=f"Conversation {self.found + 1}: the file ends in the middle "
            f"(line {self.stream.line}, after {self.stream.read:,} bytes); "
            f"whole conversations before it: {self.found:,}",
            conversation=self.found + 1,
            line=self.stream.line,
            fix="copy or export the file again: its end is missing",
        )

    def _syntax_error(self, error: Exception, chunk_number: int) -> Defect:
        line, column = _locate(self.stream, chunk_number)
        reason = str(error).removeprefix("b'").split("\\n")[0].split("\n")[0]
        reason = reason.split(": ", 1)[-1].strip().rstrip(".")
        return Defect(
            code="not_json",
            message=f"Line {line}, column {column}: not valid JSON ({reason})",
            line=line,
            fix="correct the file at this place, or export it again",
        )


def _locate(stream: ByteStream, chunk_number: int) -> tuple[int, int]:
    """Line and column of a syntax error inside one chunk: read again up to it, then bytewise."""
    events = ijson.sendable_list()
    parser = yajl2_c.basic_parse_coro(events, use_float=True)
    line, column = 1, 0
    again = ByteStream(stream.path, DefectLog())
    for number, chunk in enumerate(again.chunks()):
        if number < chunk_number:
            parser.send(chunk)
            events.clear()
            line += chunk.count(b"\n")
            last = chunk.rfind(b"\n")
            column = len(chunk) - last - 1 if last >= 0 else column + len(chunk)
            continue
        for at in range(len(chunk)):
            byte = chunk[at : at + 1]
            try:
                parser.send(byte)
            except ijson.JSONError:
                return line, column + 1
            line, column = (line + 1, 0) if byte == b"\n" else (line, column + 1)
        break
    return line, column + 1


class Depth:
    """Nesting depth of a stream of chunks that never end inside an escape.

    ijson keeps one path string per level, so its memory grows with the depth squared.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.in_string = False

    def passes(self, chunk: bytes) -> bool:
        """Whether the document gets deeper than DEEPEST within this chunk."""
        plain = chunk.replace(b"\\\\", b"").replace(b'\\"', b"")
        segments = plain.split(b'"')
        outside = b"".join(segments[1 if self.in_string else 0 :: 2])
        self.in_string ^= len(segments) % 2 == 0
        for byte in outside.translate(None, NOT_BRACKETS):
            self.depth += 1 if byte in b"[{" else -1
            if self.depth > DEEPEST:
                return True
        return False


def top_level_types(stream: ByteStream) -> tuple[str, dict[str, str]]:
    """(type of the document, {key: type of its value}); slow, used only to explain a failure."""
    words = {"start_map": "an object", "start_array": "a list", "null": "null"}
    events = ijson.sendable_list()
    parser = yajl2_c.basic_parse_coro(events, use_float=True)
    depth, document, key = 0, "", ""
    found: dict[str, str] = {}
    for chunk in stream.chunks():
        with suppress(ijson.JSONError):
            parser.send(chunk)
        for event, value in events:
            if event in ("end_map", "end_array"):
                depth -= 1
                continue
            if event == "map_key":
                key = value if depth == 1 else key
                continue
            word = words.get(event, f"a {event}")
            if depth == 0:
                document = document or word
            elif depth == 1 and document == "an object":
                found.setdefault(key, word)
            depth += event in ("start_map", "start_array")
        events.clear()
    return document, found
