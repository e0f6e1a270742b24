"""Where an answer names an emotion, uses unexplained jargon or gives a step: for the eye only."""

from __future__ import annotations

from brightrun.verdicts import Mark, MarkKind
from evals.markers import unexplained
from evals.phrases import find, normalise
from evals.sources import Lexicons


def marks(text: str, lexicons: Lexicons) -> tuple[Mark, ...]:
    """Stretches of the text in order, none of them overlapping; the markers' own word lists.

    Empty for a text whose letters change their number when they are lowered: offsets would be off.
    """
    plain = normalise(text)
    if len(plain) != len(text):
        return ()
    wanted: dict[MarkKind, tuple[str, ...]] = {
        "emotion": (*lexicons.emotion_words, *lexicons.validation_phrases),
        "jargon": tuple(unexplained(plain, lexicons)),
        "step": tuple(lexicons.step_cues),
    }
    found = [
        Mark(start=hit.start, end=hit.end, kind=kind)
        for kind, phrases in wanted.items()
        if phrases
        for hit in find(plain, phrases)
        if "\n" not in text[hit.start : hit.end]
    ]
    kept: list[Mark] = []
    for mark in sorted(found, key=lambda m: (m.start, -m.end)):
        if not kept or mark.start >= kept[-1].end:
            kept.append(mark)
    return tuple(kept)
