"""The automatic voice index: how far the markers of the brand's voice stand in their usual band.

An index from 0 to 100, evidence = marker. It is no score out of 5 and no share of "voice met":
that claim needs raters or a judge. Eight of the ten characteristics of evals/data/voice.json have
a marker; `celebrates_small_wins` and `metaphor_or_story` have none and are left out, not guessed.

A component is worth 1 inside its band, falls in a straight line to 0 at nothing, and again to 0 at
`zero`: more of a good thing is not better, so a stuffed answer loses. The bands were set from
written answers of a planner (about the 25th to 95th percentile) and are part of the plan: they
are never fitted to the job's own data. The whole is multiplied by a guard against stuffing: the
share of words that belong to any cue (written answers: 3-15 %).
`emotion_first_sentence`, `both_and`, `length` and `time_frames` are not in the index: written
answers fail them too often (13-52 %), or they say nothing about voice.
"""

from __future__ import annotations

from dataclasses import dataclass

from evals.markers import Markers
from evals.phrases import count, find, normalise, words
from evals.sources import Lexicons

REASONS = (
    "because", "the reason", "that's why", "this is why", "which is why", "this matters",
    "why this matters", "matters because", "so that",
)  # fmt: skip
UNCOVERED = ("celebrates_small_wins", "metaphor_or_story")


@dataclass(frozen=True, slots=True)
class Band:
    """Worth 1 from `low` to `high`, 0 at 0 (unless low is 0) and from `zero` on."""

    low: float
    high: float
    zero: float

    def worth(self, value: float) -> float:
        if value < self.low:
            return max(0.0, value / self.low)
        if value <= self.high:
            return 1.0
        return max(0.0, (self.zero - value) / (self.zero - self.high))


# characteristic -> (component, band); a characteristic is worth the mean of its components.
BANDS: dict[str, tuple[tuple[str, Band], ...]] = {
    "feelings_before_facts": (
        ("empathy_before_advice", Band(0.5, 1.0, 2.0)),
        ("emotion_words", Band(0.6, 4.0, 10.0)),
    ),
    "judgment_free_normalizing": (("validation_phrases", Band(0.3, 1.5, 5.0)),),
    "explains_the_why": (("reasons", Band(0.3, 2.0, 6.0)),),
    "uses_values_and_context": (("perspective_taking", Band(0.3, 1.5, 5.0)),),
    "warm_never_condescending": (
        ("signature_phrases", Band(1.0, 4.0, 10.0)),
        ("questions", Band(1.0, 4.0, 10.0)),
    ),
    "specific_numbers": (("specific_numbers", Band(1.0, 6.0, 20.0)),),
    "asks_permission": (("permission", Band(1.0, 3.0, 8.0)),),
    "plain_language_few_options": (
        ("unexplained_jargon", Band(0.0, 1.0, 5.0)),
        ("concrete_steps", Band(0.0, 4.0, 12.0)),
    ),
}
STUFFING = Band(0.0, 0.20, 0.45)


@dataclass(frozen=True, slots=True)
class Voice:
    """index 0-100; parts: characteristic -> 0-1."""

    index: float
    parts: dict[str, float]
    cue_share: float


def cue_share(plain: str, lexicons: Lexicons) -> float:
    """Share of the words that belong to a cue of the voice (0-1)."""
    cues = (
        *lexicons.emotion_words, *lexicons.validation_phrases, *lexicons.signature_phrases,
        *lexicons.perspective_phrases, *lexicons.permission_phrases, *lexicons.both_and_phrases,
        *lexicons.explanation_cues,
    )  # fmt: skip
    inside = sum(len(words(plain[hit.start : hit.end])) for hit in find(plain, cues))
    return inside / max(1, len(words(plain)))


def voice_index(text: str, markers: Markers, lexicons: Lexicons) -> Voice:
    """The index of one answer; `markers` are measure(text, lexicons). An empty answer has 0."""
    plain = normalise(text)
    total = len(words(plain))
    if total == 0:
        return Voice(0.0, dict.fromkeys(BANDS, 0.0), 0.0)
    reasons = count(plain, (*lexicons.explanation_cues, *REASONS))
    values = {
        **markers,
        "reasons": 100 * reasons / total,
        "permission": float(count(plain, lexicons.permission_phrases)),
    }
    parts = {
        name: sum(band.worth(values[part]) for part, band in components) / len(components)
        for name, components in BANDS.items()
    }
    share = cue_share(plain, lexicons)
    mean = sum(parts.values()) / len(parts)
    return Voice(100 * mean * STUFFING.worth(share), parts, share)
