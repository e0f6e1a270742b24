"""The words for training data: conversations, their turns, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field

from brightrun.frozen import Frozen

Role: TypeAlias = Literal["system", "user", "assistant"]
Message: TypeAlias = dict[str, Any]
"""{role, content}, and `supervised: False` on an answer that the quality filter left out."""

KEPT_PER_CODE = 1000
KEPT_SPECIAL = {"invalid_utf8": 20}


class Defect(Frozen):
    """One thing wrong, where it is and its mend. Places are 1-based over the whole file."""

    code: str
    message: str = Field(description="Begins with the place, as a person would say it")
    conversation: int | None = None
    conversation_id: str | None = Field(None, description="As in the file")
    turn_number: int | None = Field(None, description="As in the file")
    pair: int | None = None
    line: int | None = Field(None, description="Of a JSONL file, or of a JSON syntax error")
    field: str | None = None
    fix: str = ""


class DefectLog:
    """Collects defects. Beyond a limit per code they are counted, and the count is told."""

    def __init__(self) -> None:
        self._kept: dict[bool, list[Defect]] = {True: [], False: []}
        self._seen: Counter[tuple[str, bool]] = Counter()
        self.notes: list[Defect] = []

    def add(self, defect: Defect, *, warning: bool = False) -> None:
        key = (defect.code, warning)
        self._seen[key] += 1
        if self._seen[key] <= KEPT_SPECIAL.get(defect.code, KEPT_PER_CODE):
            self._kept[warning].append(defect)

    def count_more(self, code: str, number: int, *, warning: bool = False) -> None:
        """Count `number` more defects of a code that has reached its limit."""
        self._seen[(code, warning)] += number

    def room(self, code: str, *, warning: bool = False) -> int:
        """How many more defects of this code will be kept."""
        limit = KEPT_SPECIAL.get(code, KEPT_PER_CODE)
        return max(0, limit - self._seen[(code, warning)])

    @property
    def failed(self) -> bool:
        return any(not warning for _, warning in self._seen)

    def listed(self, *, warning: bool = False) -> tuple[Defect, ...]:
        """Kept defects in file order, then one line for each code that had more."""
        found = sorted(self._kept[warning], key=_place)
        for (code, is_warning), seen in sorted(self._seen.items()):
            more = seen - KEPT_SPECIAL.get(code, KEPT_PER_CODE)
            if is_warning == warning and more > 0:
                found.append(
                    Defect(
                        code=code,
                        message=f"... and {more:,} more defects of the kind '{code}'",
                        fix="mend the ones listed above first, then validate again",
                    )
                )
        return tuple(found)


def _place(defect: Defect) -> tuple[int, int, int]:
    return (defect.conversation or 0, defect.pair or 0, defect.line or 0)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. Odd numbers are the client (`user`), even ones the advisor (`assistant`)."""

    number: int
    role: Role
    content: str
    supervised: bool
    pair: int | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation; `index` is 1-based over the file."""

    index: int
    conversation_id: str
    arc: str
    persona: str
    topic: str
    system_prompt: str
    turns: tuple[Turn, ...]

    @property
    def supervised_pairs(self) -> int:
        return sum(turn.supervised for turn in self.turns)

    def messages(self) -> list[Message]:
        """System, user, assistant, ... up to the last supervised answer.

        What stands after it (an unanswered client turn) has nothing to train on and is left out.
        An earlier answer that is not supervised stays as context, marked `supervised: False`.
        """
        last = max((n for n, turn in enumerate(self.turns) if turn.supervised), default=-1)
        found: list[Message] = [{"role": "system", "content": self.system_prompt}]
        for turn in self.turns[: last + 1]:
            message: Message = {"role": turn.role, "content": turn.content}
            if turn.role == "assistant" and not turn.supervised:
                message["supervised"] = False
            found.append(message)
        return found


CHARACTERS_PER_TOKEN = 4.66  # of Llama 3's tokenizer, on 7 real files with 142 conversations


class RowFacts(Frozen, extra="ignore"):
    """What is known of one conversation without its texts. `tokens`: of all its sequences.

    What earlier versions have written beside it is passed over.
    """

    conversation_id: str
    index: int
    arc: str
    persona: str
    pairs: int
    supervised_pairs: int
    tokens: int
    supervised_tokens: int
    characters: int
    parts: tuple[int, ...] = Field((), description="Tokens of each part; empty: it is whole")
    added_tokens: int = Field(0, description="By the system prompts of its parts")

    @property
    def sequences(self) -> tuple[int, ...]:
        """Tokens of each sequence that is made of it."""
        return self.parts or (self.tokens,)


class FileReport(Frozen):
    """Result of `validate_file`. Token counts are per epoch, one sequence per conversation."""

    path: Path
    name: str
    format: Literal["json", "jsonl"]
    sha256: str
    valid: bool
    conversations: int
    pairs: int
    supervised_pairs: int = Field(description="After the quality filter, if there is one")
    tokens: int
    supervised_tokens: int
    tokens_exact: bool = Field(description="False: characters / 4.66, without a tokenizer")
    longest: int = Field(description="Tokens of the longest sequence")
    system_prompt: str
    arcs: dict[str, int]
    personas: dict[str, int]
    errors: tuple[Defect, ...]
    warnings: tuple[Defect, ...]
    notes: tuple[Defect, ...] = Field((), description="Nothing to mend, good to know")
    rows: tuple[RowFacts, ...]

    def summary(self) -> dict[str, Any]:
        """What `brightrun validate --json` prints, ready for JSON."""
        return {
            "valid": self.valid,
            "conversations": self.conversations,
            "pairs": self.pairs,
            "supervised_pairs": self.supervised_pairs,
            "errors": [defect.model_dump(mode="json") for defect in self.errors],
            "warnings": [defect.model_dump(mode="json") for defect in self.warnings],
            "notes": [defect.model_dump(mode="json") for defect in self.notes],
        }
