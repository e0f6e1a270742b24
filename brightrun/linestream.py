"""A JSONL file of any size, as a stream of its lines' objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from brightrun.bytestream import ByteStream
from brightrun.conversations import DefectLog
from brightrun.shapes import Place, type_name

LARGEST_LINE = 64 << 20
EXPORT = "export the training file again"


class LineStream:
    """Yields (line number, object). Lines that are no JSON object are logged and left out.

    `complete` is True when every line could be read, so that counts may be compared.
    """

    def __init__(self, stream: ByteStream, log: DefectLog) -> None:
        self.stream = stream
        self.log = log
        self.complete = True

    def items(self) -> Iterator[tuple[int, dict[str, Any]]]:
        blank = True
        for line, text, ends in self._lines():
            blank = False
            value = self._parsed(line, text, ends)
            if value is not None:
                yield line, value
        if blank and self.complete:
            fix = f"{EXPORT}; the last export was probably interrupted"
            self._fail(1, "empty_file", f"file {self.stream.path.name} is empty", fix)

    def _fail(self, line: int, code: str, what: str, fix: str) -> None:
        self.complete = False
        self.log.add(Place(line=line).defect(code, what, fix=fix))

    def _lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """(line number, bytes, whether a newline ended it); blank lines are left out."""
        rest: list[bytes] = []
        waiting = number = 0
        chunks = self.stream.chunks()
        for chunk in chunks:
            pieces = chunk.split(b"\n")
            for piece in pieces[:-1]:
                number += 1
                whole = b"".join([*rest, piece])
                rest, waiting = [], 0
                if whole.strip():
                    yield number, whole, True
            rest.append(pieces[-1])
            waiting += len(pieces[-1])
            if waiting > LARGEST_LINE:
                what = f"it is longer than {LARGEST_LINE >> 20} MB"
                fix = f"a JSONL file holds one training pair a line: {EXPORT}"
                self._fail(number + 1, "line_too_long", what, fix)
                for _ in chunks:
                    pass  # the rest still counts for the sha256
                return
        last = b"".join(rest)
        if last.strip():
            yield number + 1, last, False

    def _parsed(self, line: int, text: bytes, ends: bool) -> dict[str, Any] | None:
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            if not ends:
                what, fix = "the file ends in the middle of this line", f"{EXPORT}: its end is gone"
                self._fail(line, "truncated", what, fix)
            else:
                reason = getattr(error, "msg", None) or str(error)[:120]
                what, fix = f"not valid JSON ({reason})", f"correct the line, or {EXPORT}"
                self._fail(line, "not_json", what, fix)
            return None
        if isinstance(value, dict):
            return value
        what = f"it is {type_name(value)}, expected an object"
        self._fail(line, "wrong_type", what, "write one training pair a line")
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
