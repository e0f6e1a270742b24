"""Training files for tests: small valid ones to break, and large ones written as streams."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expectations.totals import ARCS

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "training-file.json"
EQ12 = ROOT.parent / "shared/data/eq12/EQ-12-conversations-demo.json"
needs_eq12 = pytest.mark.skipif(
    not EQ12.exists(), reason="the real sample is not beside this checkout"
)
PROMPT = "You are Elena Morales, a warm planner. Feelings before facts."
ARC_NAMES = sorted(ARCS)
PERSONA_NAMES = ("anxious_planner", "overwhelmed_avoider", "pragmatic_optimist")
Json = dict[str, Any]


def answers_of(file: Path, arc: str = "") -> list[str]:
    """The advisor's answers in a JSON file; only of arcs whose key holds `arc`."""
    return [
        p["target_response"]
        for one in json.loads(file.read_text(encoding="utf-8"))["conversations"]
        if arc in one["conversation_metadata"]["scaffolding"]["emotional_arc_key"]
        for p in one["training_pairs"]
        if p["target_response"]
    ]


def pair(texts: list[str], number: int, *, arc: str, persona: str, length: int = 1) -> Json:
    """The pair of turn `number` (1-based) of a conversation whose turns are `texts`."""
    history = [
        {"turn": n + 1, "role": "user" if n % 2 == 0 else "assistant", "content": text}
        for n, text in enumerate(texts[: number - 1])
    ]
    advisor = number % 2 == 0
    return {
        "id": f"educational_turn{number}",
        "conversation_id": "educational",
        "turn_number": number,
        "conversation_metadata": {
            "client_persona": "Sam, the Planner",
            "emotional_arc_key": arc,
            "persona_archetype": persona,
            "training_topic_key": "budgeting",
        },
        "system_prompt": PROMPT,
        "conversation_history": history,
        "current_user_input": texts[number - 2] if advisor else texts[number - 1],
        "emotional_context": {"detected_emotions": {"primary": "worry", "intensity": 0.6}},
        "target_response": texts[number - 1] if advisor else None,
        "training_metadata": {"quality_score": 3, "human_reviewed": False},
    }


def conversation(index: int, turns: int = 4, *, length: int = 1) -> Json:
    """One conversation of `turns` turns; `length` repeats its sentences."""
    texts = [
        (
            f"Client {index}.{n}: I feel uneasy about my “budget” — what now? 😟 " * length
            if n % 2
            else f"Advisor {index}.{n}: That worry makes sense. Let us look at $1,250 first. "
            * length
        ).strip()
        for n in range(1, turns + 1)
    ]
    arc, persona = ARC_NAMES[index % 7], PERSONA_NAMES[index % 3]
    return {
        "conversation_metadata": {
            "conversation_id": str(uuid.UUID(int=index)),
            "source_file": f"c{index}.json",
            "created_date": "2025-12-09",
            "total_turns": turns,
            "quality_tier": "experimental",
            "scaffolding": {
                "persona_key": persona,
                "emotional_arc_key": arc,
                "training_topic_key": "budgeting",
            },
        },
        "training_pairs": [pair(texts, n, arc=arc, persona=persona) for n in range(1, turns + 1)],
    }


def document(conversations: int = 3, turns: int = 4) -> Json:
    """A valid brightrun-lora-v4 document."""
    found = [conversation(n, turns) for n in range(1, conversations + 1)]
    return {
        "training_file_metadata": metadata(len(found), len(found) * turns),
        "consultant_profile": {"name": "Elena Morales, CFP"},
        "conversations": found,
    }


def metadata(conversations: int, pairs: int) -> Json:
    return {
        "file_name": "made-for-a-test",
        "version": "4.0.0",
        "format_spec": "brightrun-lora-v4",
        "total_conversations": conversations,
        "total_training_pairs": pairs,
    }


def counted(doc: Json) -> Json:
    """The same document with its three kinds of counts set right."""
    for one in doc["conversations"]:
        one["conversation_metadata"]["total_turns"] = len(one["training_pairs"])
    total = sum(len(one["training_pairs"]) for one in doc["conversations"])
    doc["training_file_metadata"].update(
        total_conversations=len(doc["conversations"]), total_training_pairs=total
    )
    return doc


def jsonl_rows(doc: Json) -> list[Json]:
    """The rows of the JSONL twin: `_meta`, then the pairs with a target."""
    rows: list[Json] = [
        {
            "_meta": {
                "file_name": "made-for-a-test",
                "total_pairs": doc["training_file_metadata"]["total_training_pairs"],
                "version": "4.0.0",
            }
        }
    ]
    for one in doc["conversations"]:
        name = one["conversation_metadata"]["conversation_id"]
        rows += [
            {**p, "conversation_id": name}
            for p in one["training_pairs"]
            if p["target_response"] is not None
        ]
    return rows


def write_json(path: Path, doc: object) -> Path:
    path.write_text(json.dumps(doc, ensure_ascii=False), encoding="utf-8")
    return path


def write_jsonl(path: Path, rows: list[Json]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def write(path: Path, doc: Json) -> Path:
    """The document as a file of the kind that its ending names."""
    return write_jsonl(path, jsonl_rows(doc)) if path.suffix == ".jsonl" else write_json(path, doc)


def write_large(
    path: Path, *, turns: int = 0, size: int = 0, each: int = 8, length: int = 8
) -> int:
    """Write a valid file (kind by its ending) of so many turns or bytes; returns the turns.

    Conversations of `each` turns are made one by one, so memory stays constant.
    """
    if path.suffix == ".jsonl":
        return _stream(path, turns, size, each, length, _jsonl_text, "{head}\n", "")
    head = '{"training_file_metadata": {head}, "consultant_profile": {}, "conversations": [\n'
    return _stream(path, turns, size, each, length, _json_text, head, "\n]}\n")


def _json_text(one: Json, first: bool) -> str:
    return ("" if first else ",\n") + json.dumps(one, ensure_ascii=False)


def _jsonl_text(one: Json, first: bool) -> str:
    return "".join(
        json.dumps(row, ensure_ascii=False) + "\n"
        for row in jsonl_rows({"training_file_metadata": metadata(0, 0), "conversations": [one]})[
            1:
        ]
    )


def _stream(
    path: Path,
    turns: int,
    size: int,
    each: int,
    length: int,
    text: Callable[[Json, bool], str],
    head: str,
    tail: str,
) -> int:
    """The head holds the counts, so it is written last, into room left for it."""
    room = 400
    count = 0
    with path.open("wb") as out:
        out.write(b" " * room)
        while (turns and count * each < turns) or out.tell() < size:
            count += 1
            out.write(text(conversation(count, each, length=length), count == 1).encode())
        out.write(tail.encode())
        pairs = count * each
        facts = metadata(count, pairs)
        if path.suffix == ".jsonl":
            facts = {"_meta": {"file_name": "large", "total_pairs": pairs, "version": "4.0.0"}}
        start = head.replace("{head}", json.dumps(facts)).encode()
        out.seek(0)
        out.write(start.rstrip(b"\n").ljust(room - 1) + b"\n")
    return count * each
