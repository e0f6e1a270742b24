"""The flags of one turn: one row of the frame that suites/turns.json looks at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from brightrun.records import ConversationRecord, PairRecord
from brightrun.shapes import is_blank
from expectations.columns import Row

# Tab, line feed and carriage return are ordinary text.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# UTF-8 that was read as Windows-1252 and saved again: the remains of quotes, dashes, e-acute.
MISREAD = re.compile("\u00e2\u20ac[\u0090-\u2122]|\u00c3[\u00a0-\u00bf]|\u00ef\u00bf\u00bd")
CHAT_TOKENS = re.compile(r"<\|[a-z_]{2,40}\|>")


def turn_rows(record: ConversationRecord, kind: str) -> Iterator[Row]:
    """One row of flags for each pair of a conversation; kind is json | jsonl."""
    said: dict[int, str] = {}
    prompts = Prompts()
    before: int | None = 0
    expected: int | None = None
    for pair in record.pairs:
        number = pair.turn_number
        step = _step(number, before, kind)
        if step and _step(number, expected, kind) == 0:
            step = 0  # the turn before had the wrong number: it was told there
        expected = None if step is None or number is None else number - step
        yield {
            "conversation": record.index,
            "pair": pair.pair,
            "line": pair.line,
            "turn_number": number,
            "turn_step": step,
            "expected_turn": expected,
            **_targets(pair),
            **prompts.row(pair),
            **_history(pair, said, sound=step == 0),
            **_texts(pair),
        }
        before = number
        _remember(pair, said)


@dataclass(slots=True)
class Prompts:
    """A conversation is trained with its first system prompt; tells where another one begins."""

    first: str | None = None
    turn: int | None = None
    changed: bool = False

    def row(self, pair: PairRecord) -> Row:
        """prompt_changed: 1 at the first pair with another prompt; prompt_turn: the first's."""
        prompt = pair.system_prompt
        if prompt is None or pair.turn_number is None:
            return {"prompt_changed": None, "prompt_turn": None}
        if self.first is None:
            self.first, self.turn = prompt, pair.turn_number
        other = not self.changed and prompt != self.first
        self.changed = self.changed or other
        return {"prompt_changed": int(other), "prompt_turn": self.turn}


def _step(number: int | None, before: int | None, kind: str) -> int | None:
    """How far a turn number is from the one that must stand here; 0 = right.

    JSON holds every turn. JSONL may leave client turns out: an advisor's turn follows an
    advisor's turn by 2, or a client's by 1.
    """
    if number is None or before is None:
        return None
    if kind == "jsonl" and number % 2 == 0 and before % 2 == 0:
        return number - (before + 2)
    return number - (before + 1)


def _targets(pair: PairRecord) -> Row:
    known = pair.target_known and pair.turn_number is not None
    text = pair.target
    row: Row = dict.fromkeys(("advisor_target_null", "advisor_target_blank", "client_target"))
    if known and pair.is_advisor:
        row["advisor_target_null"] = int(text is None)
        row["advisor_target_blank"] = int(text is not None and is_blank(text))
    elif known:
        row["client_target"] = int(text is not None)
    row["quality_score"] = pair.quality
    return row


def _history(pair: PairRecord, said: dict[int, str], *, sound: bool) -> Row:
    """Flags of a pair's history. `..._turn` columns name the first bad turn, 0 = none.

    Positions are compared only where turn number and length are right: otherwise one slip
    would show as a defect of every entry after it.
    """
    row: Row = dict.fromkeys(
        (
            "history_turns",
            "history_expected",
            "history_gap",
            "history_role_turn",
            "history_order_turn",
            "history_changed_turn",
            "history_end_differs",
        )
    )
    entries, number = pair.history, pair.turn_number
    if not sound or entries is None or number is None:
        return row
    row["history_turns"] = len(entries)
    row["history_expected"] = number - 1
    row["history_gap"] = len(entries) - (number - 1)
    if row["history_gap"]:
        return row
    role = order = changed = 0
    for at, entry in enumerate(entries, start=1):
        if entry.role != ("user" if at % 2 else "assistant"):
            role = role or at
        if entry.turn is not None and entry.turn != at:
            order = order or at
        if at in said and not same_text(entry.content, said[at]):
            changed = changed or at
    row["history_role_turn"] = role
    row["history_order_turn"] = order
    row["history_changed_turn"] = changed
    if pair.is_advisor and pair.user_input is not None:
        row["history_end_differs"] = int(not same_text(entries[-1].content, pair.user_input))
    return row


def _texts(pair: PairRecord) -> Row:
    prompt, question = pair.system_prompt, pair.user_input
    whole = "\n".join(text for text in (prompt, question, pair.target) if text is not None)
    return {
        "system_blank": None if prompt is None else int(is_blank(prompt)),
        "input_blank": None if question is None else int(is_blank(question)),
        "replaced_characters": whole.count("\ufffd"),
        "misread_characters": 0 if whole.isascii() else len(MISREAD.findall(whole)),
        "control_characters": len(CONTROL.findall(whole)),
        "chat_tokens": len(CHAT_TOKENS.findall(whole)) if "<|" in whole else 0,
    }


def _remember(pair: PairRecord, said: dict[int, str]) -> None:
    """What was said in which turn, to hold later histories against."""
    number = pair.turn_number
    if number is None:
        return
    if not pair.is_advisor:
        if pair.user_input is not None:
            said[number] = pair.user_input
        return
    if pair.user_input is not None:
        said.setdefault(number - 1, pair.user_input)
    if pair.target is not None and not is_blank(pair.target):
        said[number] = pair.target


def same_text(one: str, other: str) -> bool:
    """Equal but for white space: exporters trim."""
    return one == other or one.split() == other.split()
