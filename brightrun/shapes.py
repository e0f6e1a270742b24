"""Keys and types of the training file's JSON objects, checked and located.

Only shape is judged here. Values (a target where it belongs, alternation, counts) are judged by
the Great Expectations suites in expectations/suites: one rule in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import category

from brightrun.conversations import Defect, DefectLog

LARGEST_COUNT = 2**31 - 1
INVISIBLE = frozenset(("Zs", "Zl", "Zp", "Cf", "Cc"))
EXPORT_AGAIN = "export the training file again, or correct it at this place"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file something stands, and how a person is told."""

    conversation: int | None = None
    conversation_id: str | None = None
    turn_number: int | None = None
    pair: int | None = None
    line: int | None = None
    file: str = ""

    def words(self) -> str:
        inner = []
        if self.pair is not None and self.conversation is not None:
            inner.append(f"conversation {self.conversation}")
        if self.turn_number is not None:
            inner.append(f"turn {self.turn_number}")
        if self.line is not None:
            inner.append(f"line {self.line}")
        more = f" ({', '.join(inner)})" if inner else ""
        if self.pair is not None:
            return f"Training pair #{self.pair}{more}"
        if self.conversation is not None:
            return f"Conversation {self.conversation}{more}"
        return f"Line {self.line}" if self.line is not None else f"File {self.file}"

    def defect(self, code: str, what: str, *, field: str | None = None, fix: str = "") -> Defect:
        """A defect here; `what` follows the place in the message."""
        return Defect(
            code=code,
            message=f"{self.words()}: {what}",
            conversation=self.conversation,
            conversation_id=self.conversation_id,
            turn_number=self.turn_number,
            pair=self.pair,
            line=self.line,
            field=field,
            fix=fix,
        )


def is_blank(text: str) -> bool:
    """Nothing to see in it: only white space, separators, invisible and control characters.

    Unicode categories Z*, Cf and Cc; stops at the first letter.
    """
    return all(category(character) in INVISIBLE for character in text)


def is_printable(text: str) -> bool:
    """No control character (Unicode category Cc: NUL, tab, newline, escape, ...) in it."""
    return not any(category(character) == "Cc" for character in text)


def type_name(value: object) -> str:
    """JSON's word for the type of a parsed value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


class Shape:
    """Takes typed values out of one JSON object and logs what is missing or of another type."""

    def __init__(self, value: Mapping[str, Any], place: Place, log: DefectLog, prefix: str = ""):
        self.value = value
        self.place = place
        self.log = log
        self.prefix = prefix

    def _fail(self, code: str, key: str, what: str, fix: str) -> None:
        self.log.add(self.place.defect(code, what, field=self.prefix + key, fix=fix))

    def missing(self, key: str) -> None:
        name = self.prefix + key
        self._fail("missing_key", key, f"'{name}' is missing", f"add '{name}'; {EXPORT_AGAIN}")

    def wrong(self, key: str, wanted: str) -> None:
        name, found = self.prefix + key, type_name(self.value[key])
        self._fail(
            "wrong_type", key, f"'{name}' is {found}, expected {wanted}", f"make it {wanted}"
        )

    def text(self, key: str) -> str | None:
        if key not in self.value:
            self.missing(key)
        elif not isinstance(self.value[key], str):
            self.wrong(key, "a string")
        else:
            return str(self.value[key])
        return None

    def identifier(self, key: str) -> str | None:
        """A string that is not blank."""
        found = self.text(key)
        if found is not None and is_blank(found):
            name = self.prefix + key
            self._fail("blank_id", key, f"'{name}' is blank", "give it the conversation's uuid")
            return None
        return None if found is None else self.printable(key)

    def printable(self, key: str) -> str | None:
        """A string without control characters: it becomes a key in the ledger and in reports."""
        found = self.text(key)
        if found is not None and not is_printable(found):
            what = f"'{self.prefix}{key}' holds control characters, expected printable text"
            self._fail("wrong_value", key, what, "give it the conversation's uuid")
            return None
        return found

    def count(self, key: str, *, at_least: int = 0) -> int | None:
        """A whole number from `at_least` to 2^31 - 1."""
        if key not in self.value:
            self.missing(key)
            return None
        found = self.value[key]
        wanted = f"a whole number of at least {at_least}"
        if isinstance(found, bool) or not isinstance(found, int):
            self.wrong(key, wanted)
        elif not at_least <= found <= LARGEST_COUNT:
            shown = found if abs(found) < 10**18 else "far too large"
            what = f"'{self.prefix}{key}' is {shown}, expected {wanted}"
            self._fail("wrong_value", key, what, f"make it {wanted}")
        else:
            return found
        return None

    def object(self, key: str) -> dict[str, Any] | None:
        if key not in self.value:
            self.missing(key)
        elif not isinstance(self.value[key], dict):
            self.wrong(key, "an object")
        else:
            return dict(self.value[key])
        return None

    def list(self, key: str) -> list[Any] | None:
        if key not in self.value:
            self.missing(key)
        elif not isinstance(self.value[key], list):
            self.wrong(key, "a list")
        else:
            return list(self.value[key])
        return None
