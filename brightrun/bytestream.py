"""The bytes of a training file, read once: hashed, counted, and made safe to parse."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from brightrun.conversations import Defect, DefectLog
from brightrun.errors import DatasetError

Progress: TypeAlias = Callable[[int, int], None]

CHUNK = 1 << 17
UTF8_BOM = b"\xef\xbb\xbf"
REPLACEMENT = "\ufffd".encode()
FOREIGN_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# Nothing is ever unpacked here: a small archive can hold a disk full of zeros.
ARCHIVES = {
    b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z",
}  # fmt: skip

# Escaped backslash | surrogate pair | half a pair. The last one is no character: JSON.stringify
# writes it for an emoji that was cut in two.
SURROGATES = re.compile(
    rb"(\\\\)"
    rb"|(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
HIGH_HALF = re.compile(rb"\\u[dD][89abAB]")


class ByteStream:
    """Chunks of valid UTF-8. Bad bytes are logged with line and byte and become U+FFFD.

    So is half a surrogate pair, unlogged here: the turn it stands in is found by its U+FFFD.
    After the last chunk `sha256` is that of the file as it lies on disk.
    """

    def __init__(
        self,
        path: Path,
        log: DefectLog,
        progress: Progress | None = None,
        *,
        chunk: int = CHUNK,
    ) -> None:
        self.path = path
        self.chunk = chunk
        self.log = log
        self.progress = progress
        first_bytes(path)  # refuses what cannot be opened
        self.size = path.stat().st_size
        self.read = 0
        self.sha256 = ""
        self.line = 1
        self._offset = 0

    def chunks(self) -> Iterator[bytes]:
        """Never splits a character or an escape. Raises DatasetError when it cannot be read."""
        digest = hashlib.sha256()
        carry = b""
        first = True
        try:
            with self.path.open("rb") as source:
                while True:
                    raw = source.read(max(self.chunk, len(UTF8_BOM)) if first else self.chunk)
                    digest.update(raw)
                    self.read += len(raw)
                    data, carry = carry + raw, b""
                    if first and data.startswith(UTF8_BOM):
                        data = data[len(UTF8_BOM) :]
                        self._offset += len(UTF8_BOM)
                    first = False
                    if raw:
                        data, carry = _cut(data)
                    if data:
                        yield self._repaired(data)
                    if self.progress is not None:
                        self.progress(self.read, self.size)
                    if not raw:
                        break
        except OSError as error:
            raise DatasetError(f"cannot read {self.path}: {error.strerror}") from None
        self.sha256 = digest.hexdigest()

    def _repaired(self, data: bytes) -> bytes:
        if not data.isascii():
            data = self._valid_utf8(data)
        else:
            self._advance(data)
        if b"\\ud" in data or b"\\uD" in data:
            data = SURROGATES.sub(lambda m: b"\\ufffd" if m.group(3) else m.group(), data)
        return data

    def _valid_utf8(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        while True:
            try:
                data.decode()
            except UnicodeDecodeError as error:
                room = self.log.room("invalid_utf8")
                if not room:
                    # Locating each one of a binary file's bytes would be quadratic.
                    mended = data.decode(errors="replace").encode()
                    extra = mended.count(REPLACEMENT) - data.count(REPLACEMENT)
                    self.log.count_more("invalid_utf8", extra)
                    self._advance(data)
                    parts.append(mended)
                    return b"".join(parts)
                self._advance(data[: error.start])
                self._report(data[error.start : error.end])
                parts += [data[: error.start], REPLACEMENT]
                self._advance(data[error.start : error.end])
                data = data[error.end :]
            else:
                self._advance(data)
                parts.append(data)
                return b"".join(parts)

    def _advance(self, data: bytes) -> None:
        self.line += data.count(b"\n")
        self._offset += len(data)

    def _report(self, bad: bytes) -> None:
        self.log.add(
            Defect(
                code="invalid_utf8",
                message=f"Line {self.line}, byte {self._offset + 1}: "
                f"0x{bad.hex()} is not valid UTF-8",
                line=self.line,
                fix="save the file as UTF-8 (a Windows-1252 or Latin-1 export is the usual cause)",
            )
        )


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """(what can be parsed now, what must wait for more): whole characters, whole escapes."""
    end = len(data)
    back = data.rfind(b"\\", max(0, end - 12))
    if _opens_escape(data, back):
        end = back
        # A first half \ud83d just before must be seen together with its second half.
        if HIGH_HALF.match(data, max(0, back - 6)) and _opens_escape(data, back - 6):
            end = back - 6
    tail = data[max(0, end - 3) : end]
    for size in range(1, len(tail) + 1):
        byte = tail[-size]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            if needed > size:
                end -= size
            break
        if byte < 0x80:
            break
    return data[:end], data[end:]


def _opens_escape(data: bytes, at: int) -> bool:
    """Whether the backslash at `at` is not itself escaped: an odd run of them ends there."""
    if at < 0:
        return False
    return (at + 1 - len(data[: at + 1].rstrip(b"\\"))) % 2 == 1


def foreign_encoding(path: Path) -> str | None:
    """Name of a wide encoding that the file's first bytes show, else None."""
    return FOREIGN_BOMS.get(first_bytes(path)[:2])


def archive(path: Path) -> str | None:
    """Name of a compressed format that the file's first bytes show, whatever its name ends with."""
    head = first_bytes(path)[:8]
    return next((name for magic, name in ARCHIVES.items() if head.startswith(magic)), None)


def first_bytes(path: Path) -> bytes:
    """The first 4 kB. DatasetError when the file is not there or cannot be opened."""
    try:
        with path.open("rb") as source:
            return source.read(4096)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        name = str(path).replace("\0", "\\0")
        raise DatasetError(
            f"cannot read {name}: {getattr(error, 'strerror', None) or error}",
            fix="give the path of a training file, or a name from `brightrun files list`",
        ) from None
