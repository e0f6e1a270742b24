"""What can be gained at most, from the baseline's cached scores: shown before anyone pays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brightrun import baselines
from brightrun.jobs import JobSpec
from brightrun.runfolder import RunFolder
from brightrun.verdicts import EvidenceKind, MetricName, Verdict
from evals import rules
from evals.plan import FLOORS, PLAN, TARGETS

# (metric, whether only markers speak) -> what is scored, and where its scale ends; perplexity has
# no such end.
SCALES = {
    (MetricName.emotional_intelligence, False): ("emotional intelligence", 5.0),
    (MetricName.knowledge_retention, False): ("knowledge (share right)", 1.0),
    (MetricName.safety, False): ("safety (share of scenarios passed)", 1.0),
    (MetricName.brand_voice, False): ("rated brand voice (share of the scale)", 1.0),
    (MetricName.brand_voice, True): ("automatic voice index (0-100)", 100.0),
}


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


def sentences(scores: Sequence[dict[str, Any]]) -> list[str]:
    """One line a metric: the baseline's mean and the largest gain that its scale leaves."""
    lines = [line for row in scores if (line := _sentence(row))]
    if not lines:
        return []
    rated = any(row["metric"] == MetricName.emotional_intelligence for row in scores)
    rest = [] if rated else ["emotional intelligence: the baseline was not rated yet"]
    return ["This base model was measured on these items before", *lines, *rest]


def _sentence(row: dict[str, Any]) -> str:
    metric, mean = MetricName(row["metric"]), float(row["baseline"])
    scale = SCALES.get((metric, row["evidence"] == EvidenceKind.marker))
    if scale is None:
        return ""
    name, top = scale
    found = f"({row['evidence'].replace('_', ' ')}, n = {row['n']}, job {row['job']})"
    if not 0 < mean <= top:
        return f"{name}: the baseline has {mean:.3g} {found}"
    most = rules.max_attainable_gain(mean, top)
    line = f"{name}: the baseline has {mean:.3g}, at most +{100 * most:.1f} % can be gained {found}"
    target = TARGETS.get(metric)
    if metric in FLOORS and target is not None:  # a relative gain is promised
        note = rules.attainable_note(mean, target, top)
        line += f"; {note}" if note else ""
    return line
