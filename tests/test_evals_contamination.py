"""Test items that the training data may hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from training_files import EXAMPLE

from brightrun.errors import DatasetError
from evals import contamination
from evals.contamination import Item, check
from evals.sources import load_questions, load_scenarios

COPIED = (
    "My sister wants to borrow nine thousand dollars for her bakery, and I'm afraid that saying no "
    "would end us."
)
TURNS = [
    ("c1", "Here is something else: my sister WANTS to borrow nine thousand dollars, for her "
           "bakery and I\u2019m afraid that I lose her."),
    ("c2", "A budget is a plan for the money that you have."),
]  # fmt: skip


def test_thirteen_words_in_a_row_block_whatever_the_punctuation() -> None:
    found = check([Item("scenario", "S1", (COPIED,))], lambda: TURNS)
    (item,) = found.blocking
    assert item.conversation_id == "c1"
    assert item.shared == ("my sister wants to borrow nine thousand dollars for her bakery and i'm")
    assert item.containment_13 == pytest.approx(3 / 8)
    assert item.containment_8 == pytest.approx(8 / 13)
    with pytest.raises(DatasetError, match="S1 and conversation c1"):
        found.refuse()
    (defect,) = found.defects()
    assert (defect.code, defect.conversation_id) == ("contamination", "c1")
    assert "S1" in defect.message
    assert item.shared in defect.message
    assert defect.fix


def test_twelve_words_are_told_and_do_not_block() -> None:
    twelve = " ".join(COPIED.split()[:12])
    found = check([Item("scenario", "S1", (twelve,))], lambda: TURNS)
    found.refuse()
    assert found.items[0].containment_8 == 1.0
    assert found.items[0].containment_13 == 0.0
    assert "1 of 1 share 8" in found.sentence()


def test_segments_of_an_item_are_not_joined() -> None:
    first, second = " ".join(COPIED.split()[:7]), " ".join(COPIED.split()[7:14])
    found = check([Item("question", "Q1", (first, second))], lambda: TURNS)
    assert found.items[0].containment_8 == 0.0


def test_similarity_is_the_cosine_of_tf_idf() -> None:
    weights = contamination.tf_idf([["a", "b"], ["a", "b"], ["c"]]).toarray()
    assert np.linalg.norm(weights, axis=1) == pytest.approx(1.0)
    assert weights[0] @ weights[1] == pytest.approx(1.0)
    assert weights[0] @ weights[2] == 0.0
    found = check([Item("scenario", "S1", ("A budget is a plan",))], lambda: TURNS)
    assert found.items[0].conversation_id == "c2"
    assert 0.3 < found.items[0].similarity < 1.0


def test_only_a_part_of_many_turns_is_read_for_similarity_and_all_for_copies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contamination, "MOST_TURNS", 3)
    turns = [(f"c{n}", f"word{n} and nothing else") for n in range(40)]
    found = check([Item("scenario", "S1", (COPIED,))], lambda: [*turns, *TURNS])
    assert (found.turns, found.read) == (42, 3)
    assert found.blocking


def test_a_turn_is_kept_as_numbers_and_the_items_are_compared_in_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vocabulary: dict[str, int] = {}
    numbers, times = contamination.counted(["a", "b", "a", "c", "a"], vocabulary)
    assert dict(zip(vocabulary, times.tolist(), strict=True)) == {"a": 3, "b": 1, "c": 1}
    assert numbers.nbytes + times.nbytes == 8 * len(vocabulary)
    asked = [Item("scenario", f"S{n}", (text,)) for n, (_, text) in enumerate(TURNS * 3)]
    at_once = check(asked, lambda: TURNS)
    monkeypatch.setattr(contamination, "AT_ONCE", 2)
    assert check(asked, lambda: TURNS) == at_once
    assert all(item.similarity == pytest.approx(1.0) for item in at_once.items)


def test_nothing_that_we_ask_stands_in_the_example_file() -> None:
    conversations = json.loads(EXAMPLE.read_text(encoding="utf-8"))["conversations"]
    turns = [
        (c["conversation_metadata"]["conversation_id"], text)
        for c in conversations
        for pair in c["training_pairs"]
        for text in (pair["current_user_input"], pair["target_response"])
        if text
    ]
    asked = contamination.items_of(load_scenarios(), load_questions())
    found = check(asked, lambda: turns)
    found.refuse()
    assert len(found.items) == 150
    assert max(item.containment_8 for item in found.items) == 0
    assert contamination.table(found.as_json()).rows[0][1] == found.items[0].item_id
