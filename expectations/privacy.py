"""Warnings for personal data in a training file: where and of which kind, never the value."""

from __future__ import annotations

from collections.abc import Iterator

from brightrun.conversations import Conversation, Defect
from brightrun.personal import kinds
from brightrun.records import ConversationRecord
from brightrun.shapes import Place

FIX = "replace it, or make sure that its owner agrees: a model can repeat what it was trained on"
WHOSE = {"user": "the client's words", "assistant": "the adviser's words"}


class Privacy:
    """Looks at each turn once, and at a system prompt when it is another than before."""

    def __init__(self) -> None:
        self._prompt = ""

    def defects(self, conversation: Conversation, record: ConversationRecord) -> Iterator[Defect]:
        index, name = conversation.index, conversation.conversation_id or None
        if conversation.system_prompt != self._prompt:
            self._prompt = conversation.system_prompt
            place = Place(index, name, line=record.line)
            whose = "the words of the system prompt"
            yield from _told(place, whose, "system_prompt", self._prompt)
        lines = {pair.pair: pair.line for pair in record.pairs}
        for turn in conversation.turns:
            place = Place(index, name, turn.number, turn.pair, lines.get(turn.pair or 0))
            field = "target_response" if turn.role == "assistant" else "current_user_input"
            yield from _told(place, WHOSE[turn.role], field, turn.content)


def _told(place: Place, whose: str, field: str, text: str) -> Iterator[Defect]:
    found = kinds(text)
    if found:
        what = ", ".join(f"{kind} ({number})" for kind, number in found.items())
        yield place.defect("personal_data", f"{whose} hold {what}", field=field, fix=FIX)
