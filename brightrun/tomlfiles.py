"""Small TOML files that people write: read into a model, every fault told with its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from brightrun.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)
LARGEST_BYTES = 1_000_000


def read(path: Path, model: type[Model], what: str) -> Model:
    """The file as a `model`; ConfigurationError names file, line, key and what is wrong."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ConfigurationError(
                f"{what} {path} is larger than {LARGEST_BYTES:,} bytes",
                fix="name pictures by their file instead of putting them in",
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{what} {path} cannot be read: {error.strerror or error}",
            fix="check the path; examples/ holds one to start from",
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{what} {path} is not UTF-8 text") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{what} {path.name} is not TOML: {error}",
            fix='texts stand in quotes: name = "value"; a table begins with [name]',
        ) from None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults = [_said(fault["loc"], fault["msg"], text, path.name) for fault in error.errors()]
        raise ConfigurationError(
            f"{what} {path.name} has {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n  "
            + "\n  ".join(faults),
            fix="mend the lines that are named; examples/ holds one to start from",
        ) from None


def _said(loc: tuple[Any, ...], message: str, text: str, name: str) -> str:
    """`brand.toml line 4, colours.primary: ...`."""
    line = _line(loc, text)
    key = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in loc)
    where = f"{name} line {line}" if line else name
    return f"{where}, {key or 'the file'}: {message.removeprefix('Value error, ')}"


def _line(loc: tuple[Any, ...], text: str) -> int | None:
    """The line of the key at `loc`: its name, looked for from its table on; None: not there."""
    at, lines = 0, text.split("\n")
    found = None
    for index, part in enumerate(loc):
        if isinstance(part, int):
            continue
        nth = next((p for p in loc[index + 1 : index + 2] if isinstance(p, int)), 0)
        name = re.escape(str(part))
        pattern = re.compile(rf"\s*(\[+[\w.\s]*\b{name}\s*\]+|[\"']?{name}[\"']?\s*=)")
        hits = [n for n in range(at, len(lines)) if pattern.match(lines[n])]
        if not hits:
            return found
        at = hits[min(nth, len(hits) - 1)]
        found = at + 1
    return found
