"""Perplexity, retention and markers as `evaluate.Metric`, for use elsewhere. Imported by nobody.

    from evals.hub_metrics import HeldOutPerplexity
    HeldOutPerplexity().compute(predictions=[120.5], references=[60])

`evaluate` reads a metric module's imports line by line: one import per line. It pulls torch.
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from evals import statistics
from evals.gold import read
from evals.likelihood import perplexity
from evals.sources import load_lexicons

_CITATION = "Bright Run pipeline, evals/likelihood.py and evals/statistics.py"


class HeldOutPerplexity(evaluate.Metric):  # type: ignore[misc]
    """exp(sum of nats / sum of tokens); predictions = nats, references = tokens, per text."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Token-weighted perplexity of held-out texts from summed nats.",
            citation=_CITATION,
            inputs_description="predictions: float, summed nats; references: int, tokens",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[int]) -> dict[str, float]:
        return {"perplexity": perplexity(sum(predictions), sum(references))}


class KnowledgeRetention(evaluate.Metric):  # type: ignore[misc]
    """Retained share of right answers, paired; predictions = trained, references = baseline."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy trained / baseline with a 95 % score interval and McNemar's p.",
            citation=_CITATION,
            inputs_description="predictions, references: 1 = right, 0 = wrong, per question",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, Any]:
        pairs = list(zip(references, predictions, strict=True))
        both, lost = pairs.count((1, 1)), pairs.count((1, 0))
        gained = pairs.count((0, 1))
        found = statistics.retained_share(both, gained, lost, len(pairs))
        return {
            "retained": found.estimate,
            "ci_low": found.low,
            "ci_high": found.high,
            "mcnemar_p": statistics.mcnemar_exact(lost, gained),
        }


class AdviserMarkers(evaluate.Metric):  # type: ignore[misc]
    """Means of the 13 markers and of the voice index (0-100) over answers: an index, no rating."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Automatic markers of an adviser's answers; never a score out of 5.",
            citation=_CITATION,
            inputs_description="predictions: str, one answer each",
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(self, predictions: list[str]) -> dict[str, float]:
        lexicons = load_lexicons()
        found = [read(text, lexicons) for text in predictions]
        means = {
            name: sum(item.markers[name] for item in found) / len(found)
            for name in found[0].markers
        }
        return {**means, "voice_index": sum(item.voice.index for item in found) / len(found)}
