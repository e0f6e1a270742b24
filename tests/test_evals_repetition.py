"""Answers that go round in circles, told from answers that people wrote."""

from __future__ import annotations

import pytest
from training_files import EXAMPLE, answers_of

from evals.repetition import loops, repeated_share


def test_the_share_counts_four_words_that_stood_before() -> None:
    assert repeated_share("one two three four five") == 0
    assert repeated_share("a b c d A B C D") == pytest.approx(1 / 5)
    assert repeated_share("") == repeated_share("too short") == 0


@pytest.mark.parametrize(
    "answer",
    [
        "You're a doctor," + " and you're a dentist," * 12,
        "I'm looking at the plan you're about to make. " * 4,
    ],
)
def test_an_answer_that_goes_round_in_circles_loops(answer: str) -> None:
    assert loops(answer)


def test_no_answer_of_the_example_file_loops() -> None:
    answers = answers_of(EXAMPLE)
    assert len(answers) > 50
    assert max(map(repeated_share, answers)) < 0.05
