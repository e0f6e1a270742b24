"""What whoever writes the conversations is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from brightrun.runfolder import RunFolder
from evals import feedback
from evals.measurements import Likelihood

TEXT = "You may feel torn, and both sides of you want something good for the children here."
OTHER = "A budget line for joy keeps the plan alive through the long months of winter ahead."


def row(name: str, model: str, nats: float, tokens: int = 100) -> Likelihood:
    return Likelihood(
        model=model, conversation_id=name, nll=nats, tokens=tokens, nll_all=nats, tokens_all=tokens
    )


def pair(name: str, before: float, after: float) -> tuple[Likelihood, Likelihood]:
    return row(name, "baseline", before), row(name, "trained", after)


HELD_OUT = [pair("h1", 300, 260), pair("h2", 300, 255), pair("h3", 300, 265)]


def test_memorised_is_what_fell_far_more_than_the_held_out_ones() -> None:
    probed = [*pair("learned", 300, 50), *pair("usual", 300, 250)]
    ((name, _, more),) = feedback.memorised(probed, HELD_OUT)
    assert name == "learned"
    assert abs(more - 2.1) < 1e-9
    assert feedback.memorised(probed, HELD_OUT[:1]) == []


def test_what_points_against_the_held_out_ones_hurts() -> None:
    steps = [{"conversation_id": n, "cosine": c} for n, c in (("a", 0.4), ("b", -0.1), ("c", -0.3))]
    assert [name for name, _, _ in feedback.hurting(steps)] == ["c", "b"]


def test_copies_are_found_and_a_shared_voice_is_not() -> None:
    words = [text.lower().split() for text in (TEXT, OTHER, TEXT)]
    ((one, other, close),) = feedback.duplicates(["a", "b", "c"], words)
    assert (one, other) == ("a", "c")
    assert close > 0.99
    voice = ["i", "am", "so", "glad", "you", "said", "that", "out", "loud"]
    many = [[*voice, *(f"w{n}{i}" for i in range(30))] for n in range(12)]
    assert feedback.duplicates([str(n) for n in range(12)], many) == []


def test_a_passage_taken_over_is_found_in_a_longer_conversation() -> None:
    passage = " ".join(f"p{n}" for n in range(20)).split()
    long = [*passage, *(f"x{n}" for n in range(200))]
    ((_, _, close),) = feedback.duplicates(["a", "b"], [passage, long])
    assert close == 1.0


def test_arcs_with_few_conversations_are_thin() -> None:
    assert feedback.thin(Counter({"shame": 4, "mixed": 1, "confusion": 5})) == [
        ("mixed", "", 1.0),
        ("shame", "", 4.0),
    ]


def test_the_table_says_what_was_read_and_split_parts_count_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path.as_uri(), "job-1")

    def conversation(name: str, text: str, **more: Any) -> dict[str, Any]:
        said = [{"role": "assistant", "content": text}]
        return {"conversation_id": name, "arc": "shame", "messages": said, **more}

    rows = [
        conversation("a", TEXT, part=1),
        conversation("a", TEXT, part=2),
        conversation("b", OTHER),
    ]
    folder.write_jsonl("data/train.jsonl", rows)
    folder.write_jsonl(feedback.TRAINING, [r.model_dump(mode="json") for r in pair("a", 300, 10)])
    folder.write_jsonl(feedback.INFLUENCE, [{"conversation_id": "a", "cosine": -0.2}])
    table, facts = feedback.of_folder(folder, HELD_OUT)
    assert table is not None
    assert [r[0] for r in table.rows] == ["memorised", "hurts", "thin arc"]
    assert facts["found"] == {"memorised": 1, "hurts": 1, "near duplicate": 0, "thin arc": 1}
    assert (facts["training_conversations"], facts["read_for_memory"]) == (2, 1)
