"""What can be gained at most, from the baseline's cached scores: shown before anyone pays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brightrun import baselines
from brightrun.jobs import JobSpec
from brightrun.runfolder import RunFolder
from brightrun.verdicts import EvidenceKind, MetricName, Verdict
from evals import statistics
from evals.plan import PLAN, TARGETS

# Where a metric's scale ends; perplexity has no such end.
TOPS = {
    MetricName.emotional_intelligence: 5.0,
    MetricName.knowledge_retention: 1.0,
    MetricName.safety: 1.0,
    MetricName.brand_voice: 1.0,
}
NAMES = {
    MetricName.emotional_intelligence: "emotional intelligence",
    MetricName.knowledge_retention: "knowledge (share right)",
    MetricName.safety: "safety (share of scenarios passed)",
    MetricName.brand_voice: "rated brand voice (share of the scale)",
    MetricName.perplexity: "perplexity",
}

# Brand voice while nobody has rated it.
MARKED_TOP, MARKED_NAME = 100.0, "automatic voice index (0-100)"


def keep(folder: RunFolder, spec: JobSpec, verdicts: Sequence[Verdict]) -> None:
    """The next job with this base model and these items need not measure the baseline again."""
    baselines.keep(folder, spec, folder.read_json(PLAN), baseline_scores(verdicts))


def baseline_scores(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What is kept of a job's verdicts: the baseline's side, with the kind of evidence."""
    return [
        {"metric": str(v.metric), "evidence": str(v.evidence), "n": v.n, "baseline": v.baseline}
        for v in verdicts
        if v.baseline is not None
    ]


def sentences(scores: Sequence[dict[str, Any]], job_id: str) -> list[str]:
    """One line a metric: the baseline's mean and the largest gain that its scale leaves."""
    lines = []
    for row in scores:
        metric, mean = MetricName(row["metric"]), float(row["baseline"])
        top, name = TOPS.get(metric), NAMES.get(metric, "")
        if metric is MetricName.brand_voice and row["evidence"] == EvidenceKind.marker:
            top, name = MARKED_TOP, MARKED_NAME
        if top is None or not name:
            continue
        if not 0 < mean <= top:
            lines.append(f"{name}: the baseline has {mean:.3g}")
            continue
        most = statistics.max_attainable_gain(mean, top)
        line = f"{name}: the baseline has {mean:.3g}, at most +{100 * most:.1f} % can be "
        line += f"gained ({row['evidence'].replace('_', ' ')}, n = {row['n']})"
        target = TARGETS.get(metric)
        if metric is MetricName.emotional_intelligence and target is not None:
            note = statistics.attainable_note(mean, target, top)
            line += f"; {note}" if note else ""
        lines.append(line)
    if not lines:
        return []
    rated = any(row["metric"] == MetricName.emotional_intelligence for row in scores)
    rest = [] if rated else ["emotional intelligence: the baseline was not rated yet"]
    return [f"This base model was measured on these scenarios, last by job {job_id}", *lines, *rest]
