"""Answers that go round in circles: the share of word 4-grams that stood before in the same answer.

seq-rep-4 of Welleck et al. (2020), Neural Text Generation with Unlikelihood Training, over words.
"""

from __future__ import annotations

from evals.phrases import normalise, words

N = 4
# The 83 answers of the example file, written by people, stay at or below 0.01.
LOOPS = 0.2


def repeated_share(text: str) -> float:
    """1 - distinct / all word 4-grams, 0 to 1; 0 for a text of fewer than 4 words."""
    found = words(normalise(text))
    grams = list(zip(*(found[start:] for start in range(N)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def loops(text: str) -> bool:
    """True when a fifth or more of the answer repeats itself word for word."""
    return repeated_share(text) >= LOOPS
