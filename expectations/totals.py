"""The flags of a conversation and of the whole file, for their two suites."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from brightrun.conversations import RowFacts
from brightrun.reading import Declared, TrainingFile
from brightrun.records import ConversationRecord
from expectations.columns import Row

FORMAT = "brightrun-lora-v4"
MAJOR_VERSION = "4."
ARCS = frozenset(
    (
        "confusion_to_clarity",
        "couple_conflict_to_alignment",
        "overwhelm_to_empowerment",
        "shame_to_acceptance",
        "hostility_to_boundary",
        "crisis_to_referral",
        "overwhelm_to_triage",
    )
)
PERSONAS = frozenset(("anxious_planner", "overwhelmed_avoider", "pragmatic_optimist"))


def fingerprint(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=12).digest()


@dataclass(slots=True)
class Repeats:
    """Finds conversations that were there before, by id and by what is said in them."""

    prompt: str | None = None
    ids: dict[bytes, int] = field(default_factory=dict)
    contents: dict[bytes, int] = field(default_factory=dict)

    def row(self, record: ConversationRecord) -> Row:
        """earlier_id, earlier_copy: index of the first one, 0 = none; other_prompt: 0 | 1."""
        same_id: int | None = None
        if record.conversation_id is not None:
            first = self.ids.setdefault(fingerprint(record.conversation_id), record.index)
            same_id = 0 if first == record.index else first
        texts = [text or "" for p in record.pairs for text in (p.user_input, p.target)]
        copy: int | None = None
        if any(texts) and not same_id:
            first = self.contents.setdefault(fingerprint("\0".join(texts)), record.index)
            copy = 0 if first == record.index else first
        prompts = [p.system_prompt for p in record.pairs if p.system_prompt is not None]
        if self.prompt is None and prompts:
            self.prompt = prompts[0]
        other = bool(prompts) and prompts[0] != self.prompt
        return {"earlier_id": same_id, "earlier_copy": copy, "other_prompt": int(other)}


def conversation_row(
    record: ConversationRecord, repeats: Repeats, facts: RowFacts, max_length: int
) -> Row:
    """Flags of one conversation. `turns_gap`: turns found minus turns said (JSON only).

    tokens: before it is split; pair_tokens: of the longest part, of one question when too long.
    """
    found, said = len(record.pairs), record.total_turns
    longest = max(facts.sequences)
    read = bool(found)  # one that could not be read is a defect of shape already
    return {
        "conversation": record.index,
        "line": record.line,
        "turns": found,
        "declared": said,
        "turns_gap": None if said is None else found - said,
        "answers": sum(pair.supervised() for pair in record.pairs) if read else None,
        "tokens": facts.tokens - facts.added_tokens,
        "max_length": max_length,
        "tokens_over": 0 if facts.parts else max(0, facts.tokens - max_length),
        "parts": len(facts.sequences),
        "pair_tokens": longest,
        "pair_over": max(0, longest - max_length) if facts.parts else 0,
        "unmasked": int(not facts.supervised_tokens) if facts.supervised_pairs else None,
        "unknown_arc": int(record.arc not in ARCS) if read else None,
        "unknown_persona": int(record.persona not in PERSONAS) if read else None,
        **repeats.row(record),
    }


@dataclass(slots=True)
class Counts:
    """Running totals over the conversations of a file."""

    conversations: int = 0
    pairs: int = 0
    answers: int = 0
    kept: int = 0
    quality_best: float | None = None
    turns_least: int = 0
    turns_most: int = 0
    last_turn: int = 0
    last_line: int | None = None
    numbered: bool = True

    def add(self, record: ConversationRecord, quality_min: float | None) -> None:
        self.conversations += 1
        self.pairs += len(record.pairs)
        for pair in record.pairs:
            self.answers += pair.supervised()
            self.kept += pair.supervised(quality_min)
            if pair.quality is not None and pair.supervised():
                self.quality_best = max(self.quality_best or pair.quality, pair.quality)
        numbers = [p.turn_number for p in record.pairs]
        last = max((n for n in numbers if n is not None), default=0)
        self.numbered = self.numbered and None not in numbers
        self.turns_least += last
        # After a last answer one more client turn may stand, which JSONL does not show.
        self.turns_most += last + (last % 2 == 0)
        self.last_turn = last
        self.last_line = record.pairs[-1].line if record.pairs else None


def file_row(
    file: TrainingFile, counts: Counts, quality_min: float | None, totals: tuple[int, int]
) -> Row:
    """Flags of the whole file; one whose end was not read is not held to its counts.

    totals: tokens and supervised tokens. A quality filter lowers their share: then it proves
    nothing about the mask.
    """
    tokens, supervised = totals
    spec, version = file.declared.format_spec, file.declared.version
    judged = quality_min is None and supervised > 0
    said = file.declared if file.complete else Declared()
    json, pairs = file.format == "json", said.pairs
    low, high = counts.turns_least, counts.turns_most
    bounded = not json and pairs is not None and counts.numbered
    within = bounded and low <= (pairs or 0) <= high
    unseen = (pairs or 0) - low if within else None
    return {
        "conversations": counts.conversations if file.complete else None,
        "answers": counts.answers if file.complete and counts.conversations else None,
        "kept": None if quality_min is None or not counts.answers else counts.kept,
        "quality_min": quality_min,
        "quality_best": counts.quality_best,
        "meta_line": None if json else 1,
        "wrong_format": None if spec is None else int(spec != FORMAT),
        "wrong_version": None if version is None else int(not version.startswith(MAJOR_VERSION)),
        "tokens": tokens,
        "supervised_tokens": supervised,
        "supervised_percent": 100 * supervised / tokens if judged else None,
        "said_conversations": said.conversations,
        "conversations_gap": _gap(counts.conversations, said.conversations),
        "pairs": counts.pairs,
        "said_pairs": pairs,
        "pairs_gap": _gap(counts.pairs, pairs) if json else None,
        "turns_least": low,
        "turns_most": high,
        "pairs_outside": int(not within) if bounded else None,
        # A lost line costs two turns, the client's and the advisor's: one alone hides none.
        "turns_unseen": unseen,
        "lines_lost": None if unseen is None else unseen // 2,
        "last_turn": counts.last_turn,
        "last_line": counts.last_line,
    }


def _gap(found: int, said: int | None) -> int | None:
    return None if said is None or not found else found - said
