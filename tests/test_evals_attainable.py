"""What can be gained at most, told before anyone pays."""

from __future__ import annotations

from brightrun.verdicts import EvidenceKind, MetricName, Verdict
from evals.attainable import baseline_scores, sentences


def verdict(metric: MetricName, baseline: float | None, evidence: str = "human") -> Verdict:
    return Verdict(
        metric=metric, evidence=EvidenceKind(evidence), n=50, n_clusters=50, baseline=baseline
    )


def told(*verdicts: Verdict) -> list[str]:
    return sentences([{**row, "job": "job-1"} for row in baseline_scores(verdicts)])


def test_a_high_baseline_makes_forty_percent_unattainable() -> None:
    said = told(verdict(MetricName.emotional_intelligence, 3.8))[1]
    assert "at most +31.6 % can be gained (human, n = 50, job job-1)" in said
    assert said.endswith("+40 % unattainable (max +31.6 %)")


def test_without_ratings_it_says_so_and_claims_no_scale_for_perplexity() -> None:
    found = [
        verdict(MetricName.perplexity, 12.0, "measurement"),
        verdict(MetricName.safety, 0.5, "measurement"),
        verdict(MetricName.brand_voice, 0.0, "marker"),
        verdict(MetricName.knowledge_retention, None, "measurement"),
    ]
    said = told(*found)
    assert len(said) == 4
    assert "at most +100.0 %" in said[1]
    assert "the baseline has 0" in said[2]
    assert said[3] == "emotional intelligence: the baseline was not rated yet"
    assert told() == []


def test_voice_has_the_scale_of_who_spoke() -> None:
    rated, marked = (
        told(verdict(MetricName.brand_voice, mean, kind))[1]
        for mean, kind in ((0.5, "human"), (50.0, "marker"))
    )
    assert "rated brand voice" in rated
    assert "voice index (0-100)" in marked
    assert "at most +100.0 %" in rated
    assert "at most +100.0 %" in marked
