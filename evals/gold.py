"""Distance to gold: how far an answer's markers lie from those of the held-out written answers.

For each of the 13 markers |x - mean of gold| / sd of gold (sd not below FLOORS, the whole capped
at 3), averaged over the markers: 0 = like gold on average, lower = closer. A gold answer is
measured against the other gold answers. Neither more nor less of a marker is assumed to be good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.markers import LABELS, Markers, measure
from evals.sources import Lexicons
from evals.voice import Voice, voice_index

FLOORS: dict[str, float] = {
    "emotion_words": 0.2, "emotion_first_sentence": 0.25, "validation_phrases": 0.2,
    "length": 20.0, "empathy_before_advice": 0.1, "questions": 0.5, "signature_phrases": 0.5,
    "unexplained_jargon": 0.5, "specific_numbers": 0.5, "both_and": 0.1,
    "perspective_taking": 0.1, "concrete_steps": 0.5, "time_frames": 0.5,
}  # fmt: skip
CAP = 3.0
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Read:
    """One text read by the markers."""

    markers: Markers
    voice: Voice


def read(text: str, lexicons: Lexicons) -> Read:
    """Markers and voice of one text."""
    markers = measure(text, lexicons)
    return Read(markers, voice_index(text, markers, lexicons))


def _matrix(items: Sequence[Read]) -> Matrix:
    return np.array([[item.markers[name] for name in LABELS] for item in items])


def _floors() -> Matrix:
    return np.array([FLOORS[name] for name in LABELS])


@dataclass(frozen=True, slots=True)
class Gauge:
    """Mean and spread of the markers over the gold answers."""

    mean: Matrix
    sd: Matrix

    def distance(self, markers: Markers) -> float:
        """Mean over the 13 markers of min(|z|, 3)."""
        values = np.array([markers[name] for name in LABELS])
        return float(np.minimum(np.abs(values - self.mean) / self.sd, CAP).mean())


def gauge(gold: Sequence[Read]) -> Gauge | None:
    """None with fewer than two gold answers: one has no spread."""
    if len(gold) < 2:
        return None
    values = _matrix(gold)
    return Gauge(values.mean(0), np.maximum(values.std(0, ddof=1), _floors()))


def gold_distance(gold: Sequence[Read]) -> float | None:
    """Mean distance of each gold answer to the others; None below three."""
    n = len(gold)
    if n < 3:
        return None
    values = _matrix(gold)
    # Mean and sum of squares without the answer itself (n - 1 others).
    mean = (values.sum(0) - values) / (n - 1)
    centred = values - values.mean(0)
    squares = (centred**2).sum(0) - centred**2 * n / (n - 1)
    sd = np.maximum(np.sqrt(np.maximum(squares, 0.0) / (n - 2)), _floors())
    return float(np.minimum(np.abs(values - mean) / sd, CAP).mean())
