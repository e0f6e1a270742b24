"""What the answers look like through the markers: voice index, distance to gold, truncation, time.

Passes are averaged per scenario first; differences are trained - baseline, paired by scenario,
with a t interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from brightrun.verdicts import EvidenceKind, MetricName, Table, Verdict
from evals import statistics
from evals.gold import CAP, Gauge, Read, gauge, gold_distance, read
from evals.markers import LABELS
from evals.measurements import Answer, GoldAnswer
from evals.repetition import loops
from evals.sources import Lexicons
from evals.statistics import Interval
from evals.voice import BANDS, UNCOVERED

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of both models in the order of `keys` (scenario id, pass), and the gold ones."""

    keys: tuple[tuple[str, int], ...]
    baseline: tuple[Read, ...]
    trained: tuple[Read, ...]
    gold: tuple[Read, ...]
    identical: bool

    def paired(self, values: tuple[Sequence[float], Sequence[float]]) -> tuple[Matrix, Matrix]:
        """Scenario means of both models' values."""
        clusters = [name for name, _ in self.keys]
        before, after = (statistics.cluster_means(side, clusters) for side in values)
        return np.array(list(before.values())), np.array([after[name] for name in before])


def read_all(
    keys: Sequence[tuple[str, int]],
    answers: Mapping[tuple[str, str, int], Answer],
    gold: Sequence[GoldAnswer],
    lexicons: Lexicons,
) -> Answers:
    """Read every answer once."""
    texts = {
        model: [answers[model, name, number].text for name, number in keys]
        for model in ("baseline", "trained")
    }
    return Answers(
        keys=tuple(keys),
        baseline=tuple(read(text, lexicons) for text in texts["baseline"]),
        trained=tuple(read(text, lexicons) for text in texts["trained"]),
        gold=tuple(read(item.text, lexicons) for item in gold),
        identical=texts["baseline"] == texts["trained"],
    )


def _index(items: Sequence[Read]) -> list[float]:
    return [item.voice.index for item in items]


def brand_voice(answers: Answers, target: float) -> Verdict:
    """The automatic index beside gold; the 85 % claim itself is left to raters or a judge."""
    gold = _index(answers.gold)
    base = _index(answers.baseline)
    before, after = answers.paired((base, _index(answers.trained)))
    change = statistics.paired_difference(before, after)
    notes = [
        f"Automatic index 0-100 from markers, covers {len(BANDS)} of 10 characteristics; "
        "the change is in index points (95 % t interval over scenarios).",
        f"The {100 * target:.0f} % voice claim is not measured: it needs raters or a judge.",
    ]
    auc = recognises_gold(gold, base)
    if auc is not None:
        pairs = f"{len(gold)} x {len(base)} pairs"
        notes.append(f"Held-out gold against the baseline's answers: AUC {auc:.2f} ({pairs}).")
    if auc is not None and auc <= 0.5:
        notes.append("Here the index does not recognise gold: do not lean on it.")
    return Verdict(
        metric=MetricName.brand_voice,
        evidence=EvidenceKind.marker,
        n=len(answers.keys),
        n_clusters=change.n,
        baseline=float(before.mean()),
        trained=float(after.mean()),
        gold=float(np.mean(gold)) if gold else None,
        estimate=change.estimate,
        ci_low=change.low,
        ci_high=change.high,
        target=target,
        improved=statistics.improved(change, "higher"),
        target_met="not_measured",
        note=" ".join(notes + _identical(answers)),
    )


def recognises_gold(gold: Sequence[float], other: Sequence[float]) -> float | None:
    """AUC: share of (gold, other) pairs in which gold has the higher index; ties count half."""
    if not gold or not other:
        return None
    return float(stats.mannwhitneyu(gold, other).statistic) / (len(gold) * len(other))


def marker_index(answers: Answers) -> Verdict:
    """Distance to gold over all 13 markers; a fall is an improvement."""
    fixed: dict[str, Any] = {
        "metric": MetricName.marker_index,
        "evidence": EvidenceKind.marker,
        "n": len(answers.keys),
    }
    measure_by = gauge(answers.gold)
    if measure_by is None:
        return Verdict(**fixed, n_clusters=0, note="Fewer than two held-out gold answers.")
    change, before, after = _distance_change(answers, measure_by)
    return Verdict(
        **fixed,
        n_clusters=change.n,
        baseline=before,
        trained=after,
        gold=gold_distance(answers.gold),
        estimate=change.estimate,
        ci_low=change.low,
        ci_high=change.high,
        improved=statistics.improved(change, "lower"),
        target_met="not_measured",
        note=" ".join(
            [
                "Mean distance to the held-out gold answers over 13 markers, in their standard "
                f"deviations (capped at {CAP:g}); lower is closer. No target was set.",
                *_identical(answers),
            ]
        ),
    )


def _distance_change(answers: Answers, by: Gauge) -> tuple[Interval, float, float]:
    before, after = answers.paired(
        (
            [by.distance(item.markers) for item in answers.baseline],
            [by.distance(item.markers) for item in answers.trained],
        )
    )
    change = statistics.paired_difference(before, after)
    return change, float(before.mean()), float(after.mean())


def _identical(answers: Answers) -> list[str]:
    if not answers.identical:
        return []
    return ["Both models gave the same answers word for word: the adapter changed nothing here."]


def table(answers: Answers) -> Table:
    """Each marker and both indices: baseline, trained, gold, and the paired change with CI."""
    rows: list[tuple[str | int | float | bool | None, ...]] = []
    for name, label in LABELS.items():
        values = (
            [item.markers[name] for item in answers.baseline],
            [item.markers[name] for item in answers.trained],
        )
        gold = [item.markers[name] for item in answers.gold]
        rows.append(_row(label, answers, values, float(np.mean(gold)) if gold else None))
    indices = (_index(answers.baseline), _index(answers.trained))
    gold = _index(answers.gold)
    rows.append(
        _row("Voice index (0-100)", answers, indices, float(np.mean(gold)) if gold else None)
    )
    by = gauge(answers.gold)
    if by is not None:
        change, before, after = _distance_change(answers, by)
        rows.append(
            (
                "Distance to gold (sd, lower is closer)",
                before,
                after,
                gold_distance(answers.gold),
                change.estimate,
                change.low,
                change.high,
            )
        )
    return Table(
        columns=("marker", "baseline", "trained", "gold", "change", "change_low", "change_high"),
        rows=tuple(rows),
        caption="Automatic markers, mean per answer: an index, not a rating. Gold = the held-out "
        "written answers; change = trained - baseline, paired by scenario, 95 % CI.",
    )


def _row(
    label: str,
    answers: Answers,
    values: tuple[Sequence[float], Sequence[float]],
    gold: float | None,
) -> tuple[str | int | float | bool | None, ...]:
    before, after = answers.paired(values)
    change = statistics.paired_difference(before, after)
    means = float(before.mean()), float(after.mean())
    return label, *means, gold, change.estimate, change.low, change.high


def _change(answers: Answers, part: str) -> dict[str, float | None]:
    """Of one characteristic of the voice index, paired by scenario."""
    both = answers.paired(
        (
            [item.voice.parts[part] for item in answers.baseline],
            [item.voice.parts[part] for item in answers.trained],
        )
    )
    found = statistics.paired_difference(*both)
    return {"change": found.estimate, "change_low": found.low, "change_high": found.high}


def facts(
    answers: Answers, raw: Mapping[tuple[str, str, int], Answer], models: Sequence[str]
) -> dict[str, Any]:
    """Truncation, loops, length and time per model, and the parts of the voice index."""
    per_model: dict[str, Any] = {}
    for model in models:
        rows = [raw[model, name, number] for name, number in answers.keys]
        cut = [row.finish_reason == "length" for row in rows]
        looping = [loops(row.text) for row in rows]
        truncated = sum(cut)
        seconds, pods = [row.seconds for row in rows], {row.pod for row in rows}
        per_model[model] = {
            "answers": len(rows),
            "truncated": truncated,
            "truncated_share": truncated / len(rows),
            "looping": sum(looping),
            "truncated_or_looping": sum(map(any, zip(cut, looping, strict=True))),
            "empty": sum(not row.text.strip() for row in rows),
            "tokens_mean": float(np.mean([row.tokens for row in rows])),
            "seconds_mean": float(np.mean(seconds)),
            "seconds_median": float(np.median(seconds)),
            # Several pods are several machines: their seconds compare with nothing.
            "seconds_of": "mixed" if len(pods) > 1 else min(pods),
        }
    sides = {"baseline": answers.baseline, "trained": answers.trained, "gold": answers.gold}
    return {
        "answers": per_model,
        "identical": answers.identical,
        "gold_answers": len(answers.gold),
        "voice_parts": {
            part: {
                **{
                    side: float(np.mean([it.voice.parts[part] for it in items])) if items else None
                    for side, items in sides.items()
                },
                **_change(answers, part),
            }
            for part in BANDS
        },
        "voice_without_marker": list(UNCOVERED),
        "gold_over_baseline_auc": recognises_gold(_index(answers.gold), _index(answers.baseline)),
    }
