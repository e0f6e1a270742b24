"""Finding lexicon phrases in text: word boundaries, straight and curly apostrophes alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_SAME = str.maketrans(
    {
        "\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u0060": "'", "\u00b4": "'",
        "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u202f": " ", "\u200b": "",
        "\u2010": "-", "\u2011": "-", "\u2012": "-",
    }
)  # fmt: skip
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]*_]*\s+|\n+")
_WORD = re.compile(r"\w+(?:['.,-]\w+)*")


@dataclass(frozen=True, slots=True)
class Hit:
    """One phrase found; start and end are character offsets in the normalised text."""

    start: int
    end: int
    phrase: str


def normalise(text: str) -> str:
    """Lower case, straight quotes, plain spaces and hyphens; line breaks are kept."""
    return text.translate(_SAME).lower()


def words(text: str) -> list[str]:
    """Words and numbers; `don't`, `401` and `1,200.50` are one each."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """Non-empty sentences; a line break ends one too."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


@lru_cache(maxsize=256)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """All phrases in one expression, longest first, so that no stretch of text counts twice."""
    cleaned = {" ".join(normalise(phrase).split()) for phrase in phrases if phrase.strip()}
    ordered = sorted(cleaned, key=lambda phrase: (-len(phrase), phrase))
    body = "|".join(r"\s+".join(map(re.escape, phrase.split(" "))) for phrase in ordered)
    # A digit phrase must not be part of an amount: "911" is not "$1,911", "988" not "988.50".
    return re.compile(rf"(?<![\w$])(?<!\d[.,-])(?:{body})(?!\w)(?![.,]\d)(?!%)")


def find(normalised: str, phrases: Iterable[str]) -> list[Hit]:
    """Non-overlapping hits in order; `normalised` must come from normalise()."""
    found = _pattern(tuple(phrases)).finditer(normalised)
    return [Hit(m.start(), m.end(), " ".join(m.group().split())) for m in found]


def count(normalised: str, phrases: Iterable[str]) -> int:
    """Number of non-overlapping hits."""
    return len(find(normalised, phrases))


def distinct(normalised: str, phrases: Iterable[str]) -> int:
    """Number of different phrases that are hit."""
    return len({hit.phrase for hit in find(normalised, phrases)})
