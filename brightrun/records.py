"""Conversations and training pairs as they stand in a file, before anything is judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from brightrun.conversations import Conversation, DefectLog, Role, Turn
from brightrun.shapes import Place, Shape, is_blank, type_name

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    turn: int | None
    role: str
    content: str


@dataclass(slots=True)
class PairRecord:
    """One training pair. None = missing or of the wrong type, which is logged already."""

    pair: int
    line: int | None
    turn_number: int | None = None
    system_prompt: str | None = None
    history: list[HistoryEntry] | None = None
    user_input: str | None = None
    target: str | None = None
    target_known: bool = False
    quality: float | None = None

    @property
    def is_advisor(self) -> bool:
        return self.turn_number is not None and self.turn_number % 2 == 0

    def supervised(self, quality_min: float | None = None) -> bool:
        """An advisor's turn with an answer, of at least this quality_score when asked for."""
        if not self.is_advisor or self.target is None or is_blank(self.target):
            return False
        return quality_min is None or (self.quality is not None and self.quality >= quality_min)


@dataclass(slots=True)
class ConversationRecord:
    """One conversation as read, with its pairs; `line` is that of its first pair (JSONL)."""

    index: int
    line: int | None = None
    conversation_id: str | None = None
    total_turns: int | None = None
    arc: str = UNKNOWN
    persona: str = UNKNOWN
    topic: str = UNKNOWN
    pairs: list[PairRecord] = field(default_factory=list)

    def conversation(self, quality_min: float | None = None) -> Conversation:
        """Turns in order. A JSONL pair brings its client's turn along; a JSON one repeats it."""
        turns: list[Turn] = []

        def add(number: int, role: Role, content: str, pair: int | None, trained: bool) -> None:
            turns.append(Turn(number, role, content, trained, pair))

        for record in self.pairs:
            number = record.turn_number
            if number is None:
                continue
            before = turns[-1].number if turns else 0
            if not record.is_advisor:
                add(number, "user", record.user_input or "", record.pair, False)
                continue
            if before != number - 1:
                add(number - 1, "user", record.user_input or "", None, False)
            if record.target is not None:
                trained = record.supervised(quality_min)
                add(number, "assistant", record.target, record.pair, trained)
        prompts = (p.system_prompt for p in self.pairs if p.system_prompt is not None)
        return Conversation(
            index=self.index,
            conversation_id=self.conversation_id or "",
            arc=self.arc,
            persona=self.persona,
            topic=self.topic,
            system_prompt=next(prompts, ""),
            turns=tuple(turns),
        )


def pair_record(value: dict[str, Any], place: Place, log: DefectLog) -> PairRecord:
    """Check one pair's shape; every problem is logged, none stops the others."""
    shape = Shape(value, place, log)
    record = PairRecord(pair=place.pair or 0, line=place.line)
    record.turn_number = shape.count("turn_number", at_least=1)
    shape.text("id")
    shape.printable("conversation_id")
    shape.object("conversation_metadata")
    shape.object("emotional_context")
    record.system_prompt = shape.text("system_prompt")
    record.user_input = shape.text("current_user_input")
    entries = shape.list("conversation_history")
    if entries is not None:
        record.history = _history(entries, place, log)
    if "target_response" not in value:
        shape.missing("target_response")
    elif value["target_response"] is not None and not isinstance(value["target_response"], str):
        shape.wrong("target_response", "a string" if record.is_advisor else "null")
    else:
        record.target, record.target_known = value["target_response"], True
    training = shape.object("training_metadata")
    score = (training or {}).get("quality_score")
    if score is not None and training is not None:
        if isinstance(score, bool) or not isinstance(score, (int, float)):
            Shape(training, place, log, "training_metadata.").wrong("quality_score", "a number")
        else:
            record.quality = max(-1e9, min(1e9, score))
    return record


def _history(entries: list[Any], place: Place, log: DefectLog) -> list[HistoryEntry] | None:
    found: list[HistoryEntry] = []
    whole = True
    for number, entry in enumerate(entries):
        name = f"conversation_history[{number}]"
        if not isinstance(entry, dict):
            what = f"'{name}' is {type_name(entry)}, expected an object"
            fix = "make it {turn, role, content}"
            log.add(place.defect("wrong_type", what, field=name, fix=fix))
            whole = False
            continue
        shape = Shape(entry, place, log, f"{name}.")
        role, content = shape.text("role"), shape.text("content")
        turn = entry.get("turn")
        if "turn" in entry and (isinstance(turn, bool) or not isinstance(turn, int)):
            shape.wrong("turn", "a whole number")
            turn = None
        if role is None or content is None:
            whole = False
            continue
        found.append(HistoryEntry(turn, role, content))
    return found if whole else None


def scaffold(record: ConversationRecord, value: object) -> None:
    """Take arc, persona and topic keys from a scaffolding or a pair's metadata, if there."""
    if not isinstance(value, dict) or UNKNOWN not in (record.arc, record.persona, record.topic):
        return
    for name, keys in {
        "arc": ("emotional_arc_key",),
        "persona": ("persona_key", "persona_archetype"),
        "topic": ("training_topic_key",),
    }.items():
        texts = (value.get(key) for key in keys)
        found = next((t for t in texts if isinstance(t, str) and not is_blank(t)), None)
        if found is not None and getattr(record, name) == UNKNOWN:
            setattr(record, name, found)
