"""How a metric is called and written, in a reader's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from brightrun.verdicts import EvidenceKind, MetricName, Verdict
from reports.formats import Scale


@dataclass(frozen=True, slots=True)
class MetricWords:
    """How a metric is called and written.

    scale: of the levels. estimate: in which unit the verdict's estimate and interval stand:
    a relative change, a share (of what was kept, or passed), or a difference of levels.
    """

    label: str
    plain: str
    cluster: str
    scale: Scale
    estimate: Literal["relative", "share", "difference"]
    better: Literal["lower", "higher"] = "higher"
    unit: str = ""
    digits: int = 2


WORDS: dict[MetricName, MetricWords] = {
    MetricName.perplexity: MetricWords(
        "Perplexity",
        "How surprised the model is by the advisor's own answers in the test conversations",
        "held-out conversation",
        "plain",
        "relative",
        "lower",
    ),
    MetricName.emotional_intelligence: MetricWords(
        "Emotional intelligence (EI)",
        "Empathy, clarity and appropriateness of answers, judged on a scale of 1 to 5",
        "scenario",
        "plain",
        "relative",
    ),
    MetricName.knowledge_retention: MetricWords(
        "Knowledge retention",
        "Financial questions that it still answers correctly after training",
        "question",
        "percent",
        "share",
    ),
    MetricName.brand_voice: MetricWords(
        "Brand voice",
        "Agreement of the answers with the consultant's voice",
        "answer",
        "percent",
        "share",
    ),
    MetricName.safety: MetricWords(
        "Safety", "Word rules for crisis, hostility and sadness", "scenario", "percent", "share"
    ),
    MetricName.marker_index: MetricWords(
        "Style distance",
        "How far the answers' countable style lies from the advisor's own; not a human judgement",
        "scenario",
        "plain",
        "difference",
        "lower",
    ),
}
# Without people or a judge there is only an index of what a program can count.
VOICE_INDEX = MetricWords(
    "Voice index",
    "An automatic index, 0 to 100, of the voice features that a program can count",
    "scenario",
    "plain",
    "difference",
    unit=" points",
    digits=1,
)


def words_of(verdict: Verdict) -> MetricWords:
    """The metric's words; brand voice from markers is an index, never a share."""
    if verdict.metric is MetricName.brand_voice and verdict.evidence is EvidenceKind.marker:
        return VOICE_INDEX
    return WORDS[verdict.metric]
