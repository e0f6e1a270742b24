"""Build the example training file from ``conversations.yaml``.

Usage::

    python examples/build.py           # write training-file.json and training-file.jsonl
    python examples/build.py --check   # exit 1 when the committed files differ

The output has the shape of a real brightrun-lora-v4 file, quirks included: odd turns carry a null
target, a history already ends with the client message that is also in ``current_user_input``, and
pair ids repeat across conversations in the JSON form. Every id and date is fixed, so two builds
are byte for byte the same. The quality scores are the format's placeholder: nobody rated them.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import yaml

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "conversations.yaml"
JSON_FILE = HERE / "training-file.json"
JSONL_FILE = HERE / "training-file.jsonl"

FORMAT = "brightrun-lora-v4"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "brightrun:examples")
SCORE = 3  # as in every real file
ANSWER_WORDS = (60, 120)
CLIENT_WORDS = (20, 70)
VALENCES = {"positive", "mixed", "negative"}

Json = dict[str, Any]


class SourceError(ValueError):
    """The YAML breaks a rule of the format or of the house style."""


class Turn(NamedTuple):
    """One message: who said it, what they said, and the feeling in it."""

    role: str
    text: str
    emotions: Json

    @property
    def state(self) -> Json:
        """Return the short form of the emotions that stands in a history."""
        return {key: self.emotions[key] for key in ("primary", "secondary", "intensity")}


def read_turns(conversation: Json) -> list[Turn]:
    """Return the turns of one conversation, checked; raise SourceError on the first fault."""
    turns: list[Turn] = []
    for number, raw in enumerate(conversation["turns"], start=1):
        where = f"{conversation['slug']}, turn {number}"
        speaker, role = ("client", "user") if number % 2 else ("elena", "assistant")
        if speaker not in raw:
            raise SourceError(f"{where}: expected a turn by '{speaker}'")
        text: str = raw[speaker].strip()
        low, high = CLIENT_WORDS if role == "user" else ANSWER_WORDS
        if not low <= len(text.split()) <= high:
            raise SourceError(f"{where}: {len(text.split())} words, allowed {low} to {high}")
        emotions: Json = raw["emotions"]
        if emotions["valence"] not in VALENCES or not 0 <= emotions["intensity"] <= 1:
            raise SourceError(f"{where}: valence or intensity out of range")
        turns.append(Turn(role, text, emotions))
    if len(turns) < 4:
        raise SourceError(f"{conversation['slug']}: fewer than two answers")
    return turns


def build_pair(source: Json, conversation: Json, turns: list[Turn], number: int) -> Json:
    """Return the pair of turn ``number`` (from 1)."""
    turn = turns[number - 1]
    is_client = turn.role == "user"
    arc: Json = source["arcs"][conversation["emotional_arc_key"]]
    persona = source["personas"][conversation["persona_key"]]
    return {
        "id": f"{arc['id_stem']}_turn{number}",
        "conversation_id": arc["id_stem"],
        "turn_number": number,
        "conversation_metadata": {
            "client_persona": f"{conversation['persona_name']} - {persona}",
            "client_background": conversation["client_background"],
            "session_context": conversation["session_context"],
            "conversation_phase": arc["phase"],
            "expected_outcome": conversation["expected_outcome"],
            "persona_archetype": conversation["persona_key"],
            "emotional_arc": conversation["emotional_arc"],
            "emotional_arc_key": conversation["emotional_arc_key"],
            "training_topic": conversation["training_topic"],
            "training_topic_key": conversation["training_topic_key"],
        },
        "system_prompt": source["system_prompt"],
        "conversation_history": [
            {"turn": index, "role": past.role, "content": past.text, "emotional_state": past.state}
            for index, past in enumerate(turns[: number - 1], start=1)
        ],
        # On an answer this repeats the last entry of the history, as in the real files.
        "current_user_input": turn.text if is_client else turns[number - 2].text,
        "emotional_context": {
            "detected_emotions": {
                "primary": turn.emotions["primary"],
                "primary_confidence": 0.8,
                "secondary": turn.emotions["secondary"],
                "secondary_confidence": 0.7,
                "intensity": turn.emotions["intensity"],
                "valence": turn.emotions["valence"],
            }
        },
        "target_response": None if is_client else turn.text,
        "training_metadata": {
            "difficulty_level": f"{conversation['difficulty']}_conversation_turn_{number}",
            "key_learning_objective": conversation["training_topic_key"],
            "demonstrates_skills": arc["skills"],
            "conversation_turn": number,
            "emotional_progression_target": f"{arc['opens']}(0.8) → {arc['closes']}(0.8)",
            "quality_score": SCORE,
            "quality_criteria": {
                "empathy_score": SCORE,
                "clarity_score": SCORE,
                "appropriateness_score": SCORE,
                "brand_voice_alignment": SCORE,
            },
            "human_reviewed": False,
            "reviewer_notes": None,
            "use_as_seed_example": False,
            "generate_variations_count": 0,
        },
    }


def build_conversation(source: Json, conversation: Json) -> Json:
    """Return one conversation with all its pairs."""
    turns = read_turns(conversation)
    conversation_id = str(uuid.uuid5(NAMESPACE, conversation["slug"]))
    scaffolding = ("persona_key", "persona_name", "emotional_arc_key", "emotional_arc")
    return {
        "conversation_metadata": {
            "conversation_id": conversation_id,
            "source_file": f"fp_conversation_{conversation_id}.json",
            "created_date": source["file"]["created"][:10],
            "total_turns": len(turns),
            "quality_tier": "experimental",
            "scaffolding": {
                key: conversation[key]
                for key in (*scaffolding, "training_topic_key", "training_topic")
            },
        },
        "training_pairs": [
            build_pair(source, conversation, turns, number) for number in range(1, len(turns) + 1)
        ],
    }


def build_document(source: Json) -> Json:
    """Return the whole training file."""
    conversations = [build_conversation(source, item) for item in source["conversations"]]
    ids = {item["conversation_metadata"]["conversation_id"][:8] for item in conversations}
    if len(ids) != len(conversations):
        raise SourceError("two conversations share a slug, or the first 8 digits of their id")
    about: Json = source["file"]

    def count(key: str) -> dict[str, int]:
        return dict(Counter(item[key] for item in source["conversations"]))

    return {
        "training_file_metadata": {
            "file_name": about["name"],
            "version": about["version"],
            "created_date": about["created"],
            "last_updated": about["created"],
            "format_spec": FORMAT,
            "target_model": about["target_model"],
            "vertical": about["vertical"],
            "total_conversations": len(conversations),
            "total_training_pairs": sum(len(item["training_pairs"]) for item in conversations),
            "quality_summary": {
                "avg_quality_score": SCORE,
                "min_quality_score": SCORE,
                "max_quality_score": SCORE,
                "human_reviewed_count": 0,
                "human_reviewed_percentage": 0,
            },
            "scaffolding_distribution": {
                "personas": count("persona_key"),
                "emotional_arcs": count("emotional_arc_key"),
                "training_topics": count("training_topic_key"),
            },
        },
        "consultant_profile": source["consultant_profile"],
        "conversations": conversations,
    }


def to_jsonl(document: Json) -> str:
    """Return the JSONL form: a ``_meta`` line, then the pairs that have a target."""
    about = document["training_file_metadata"]
    meta = {
        "file_name": about["file_name"],
        "total_pairs": about["total_training_pairs"],  # client turns count too
        "version": about["version"],
    }
    rows: list[Json] = [{"_meta": meta}]
    for conversation in document["conversations"]:
        conversation_id = conversation["conversation_metadata"]["conversation_id"]
        for pair in conversation["training_pairs"]:
            if pair["target_response"] is not None:
                own = {
                    "id": f"{pair['id']}_{conversation_id[:8]}",
                    "conversation_id": conversation_id,
                }
                rows.append({**pair, **own})
    return "".join(
        json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows
    )


def main(argv: list[str] | None = None) -> int:
    """Write the two files, or with ``--check`` compare them; return the exit status."""
    parser = argparse.ArgumentParser(description="Build the example training file.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check: bool = parser.parse_args(argv).check
    try:
        document = build_document(yaml.safe_load(SOURCE.read_text(encoding="utf-8")))
    except SourceError as error:
        print(f"{SOURCE.name}: {error}", file=sys.stderr)
        return 1
    wanted = {
        JSON_FILE: json.dumps(document, ensure_ascii=False, indent=1) + "\n",
        JSONL_FILE: to_jsonl(document),
    }
    status = 0
    for path, text in wanted.items():
        data = text.encode("utf-8")
        if not check:
            path.write_bytes(data)
            print(f"wrote {path.name} ({len(data):,} bytes)")
        elif not path.exists() or path.read_bytes() != data:
            print(f"{path.name} differs: run python examples/build.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
