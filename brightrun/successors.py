"""Whether a new adapter may take the place of the one in production. Pure.

    found = compare(new, current)   # verdicts of both, each against the same base model
    found.promotes                  # non-inferior on every headline that was measured

The two were measured in runs of their own, so their difference has the standard errors of both:
wider than a paired comparison would be, never narrower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from brightrun.frozen import Frozen
from brightrun.verdicts import EvidenceKind, MetricName, Verdict

Z = 1.959964  # 95 % two-sided, as the verdicts' intervals
# Headline -> (which direction is better, how much worse still counts as equal; unit of `estimate`).
HEADLINES: dict[MetricName, tuple[Literal["higher", "lower"], float]] = {
    MetricName.perplexity: ("lower", 0.05),
    MetricName.emotional_intelligence: ("higher", 0.10),
    MetricName.knowledge_retention: ("higher", 0.05),
    MetricName.brand_voice: ("higher", 0.05),
}
Word = Literal["non_inferior", "inferior", "inconclusive", "not_comparable"]


class Headline(Frozen):
    """One claim compared; worse: by how much the new one may be worse at most (95 %)."""

    metric: MetricName
    word: Word
    new: float | None = None
    current: float | None = None
    worse: float | None = None
    margin: float | None = None
    why: str = ""

    def __str__(self) -> str:
        name = self.metric.replace("_", " ")
        said = f"{name}: {self.word.replace('_', ' ')}"
        if self.worse is None or self.margin is None:
            return f"{said} ({self.why})" if self.why else said
        return f"{said} (at most {self.worse:.3g} worse, {self.margin:.3g} allowed)"


class Comparison(Frozen):
    headlines: tuple[Headline, ...]
    unmeasured: tuple[MetricName, ...]

    @property
    def promotes(self) -> bool:
        return bool(self.headlines) and all(h.word == "non_inferior" for h in self.headlines)

    def __str__(self) -> str:
        missing = ", ".join(name.replace("_", " ") for name in self.unmeasured)
        tail = (f"measured for neither: {missing}",) if missing else ()
        return "; ".join((*map(str, self.headlines), *tail))


def compare(new: Sequence[Verdict], current: Sequence[Verdict]) -> Comparison:
    """Headline by headline; safety is a gate: every scenario must pass.

    What was measured for one of the two only cannot be compared, and stands in the way.
    """
    ours, theirs = _measured(new), _measured(current)
    found, missing = [_safety(new, current)], []
    for metric, (better, margin) in HEADLINES.items():
        mine, other = ours.get(metric), theirs.get(metric)
        if mine is None and other is None:
            missing.append(metric)
        elif mine is None or other is None:
            whose = "the new one" if mine is None else "the one in production"
            found.append(Headline(metric=metric, word="not_comparable", why=f"{whose} was not "
                                  "measured"))  # fmt: skip
        elif mine.evidence is not other.evidence:
            why = f"{mine.evidence} against {other.evidence}"
            found.append(Headline(metric=metric, word="not_comparable", why=why))
        else:
            found.append(_difference(mine, other, better, margin))
    kept = tuple(headline for headline in found if headline is not None)
    return Comparison(headlines=kept, unmeasured=tuple(missing))


def _measured(verdicts: Sequence[Verdict]) -> dict[MetricName, Verdict]:
    """Numbers with an interval; a marker is an index and no headline."""
    return {
        v.metric: v
        for v in verdicts
        if None not in (v.estimate, v.ci_low, v.ci_high) and v.evidence is not EvidenceKind.marker
    }


def _difference(
    new: Verdict, current: Verdict, better: Literal["higher", "lower"], margin: float
) -> Headline:
    assert new.estimate is not None
    assert current.estimate is not None
    sign = 1.0 if better == "lower" else -1.0
    gap = sign * (new.estimate - current.estimate)  # above 0: the new one is worse
    half = Z * math.hypot(_error(new), _error(current))
    word: Word = "inconclusive"
    if gap + half <= margin:
        word = "non_inferior"
    elif gap - half > margin:
        word = "inferior"
    return Headline(
        metric=new.metric, word=word, new=new.estimate, current=current.estimate,
        worse=gap + half, margin=margin,
    )  # fmt: skip


def _error(verdict: Verdict) -> float:
    assert verdict.ci_low is not None
    assert verdict.ci_high is not None
    return (verdict.ci_high - verdict.ci_low) / (2 * Z)


def _safety(new: Sequence[Verdict], current: Sequence[Verdict]) -> Headline | None:
    def asked(verdicts: Sequence[Verdict]) -> Verdict | None:
        found = (v for v in verdicts if v.metric is MetricName.safety and v.n_clusters > 0)
        return next(found, None)

    mine, other = asked(new), asked(current)
    if mine is None and other is None:
        return None
    if mine is None:
        why = "the new one was not asked"
        return Headline(metric=MetricName.safety, word="not_comparable", why=why)
    word: Word = "non_inferior" if mine.target_met == "pass" else "inferior"
    passed = f"{mine.trained or 0:.0%} of {mine.n_clusters} scenarios pass"
    return Headline(metric=MetricName.safety, word=word, new=mine.trained, why=passed)
