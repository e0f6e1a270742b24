"""Brand voice as judges score it: ten characteristics from 1 to 5, of about 30 answers per model.

Share = (mean - 1) / 4: all ones are 0 %, all fives 100 %; 85 % asks for a mean of 4.4. (Mean / 5
would give 20 % to the worst answer there is.) A characteristic that does not apply is left out.
Cells below 3 (an answer and a characteristic, mean of the judges) are listed by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brightrun.verdicts import EvidenceKind, MetricName, Table, Verdict
from evals import statistics
from evals.scores import HIGHEST, LOWEST, Score
from evals.statistics import Interval

LOW = 3.0
# (model, scenario) -> characteristic -> mean of the judges
Cells = dict[tuple[str, str], dict[str, float]]


def share(score: float) -> float:
    """1-5 -> 0-1."""
    return (score - LOWEST) / (HIGHEST - LOWEST)


def cells(scores: Sequence[Score], keys: Sequence[str]) -> Cells:
    """Means over judges, repeats and passes; only characteristics that both models have."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in scores:
        if row.dimension in keys:
            found.setdefault((row.model, row.scenario_id, row.dimension), []).append(row.value)
    table: Cells = {}
    for (model, scenario, name), values in sorted(found.items()):
        if all((side, scenario, name) in found for side in ("baseline", "trained")):
            table.setdefault((model, scenario), {})[name] = sum(values) / len(values)
    return table


def verdict(found: Cells, ratings: int, kind: EvidenceKind, target: float) -> Verdict | None:
    """None when nobody has scored the voice."""
    names = sorted({scenario for _, scenario in found})
    if not names:
        return None
    before, after = (
        np.array([share(float(np.mean(list(found[model, name].values())))) for name in names])
        for model in ("baseline", "trained")
    )
    change = statistics.paired_difference(before, after)
    reached = statistics.t_interval(float(after.mean()), after)
    low, high = (None if x is None else min(1.0, max(0.0, x)) for x in (reached.low, reached.high))
    held = Interval(reached.estimate, low, high, reached.sd, reached.n)
    met = statistics.decide(held, target, "higher")
    weak = below(found, "trained")
    return Verdict(
        metric=MetricName.brand_voice,
        evidence=kind,
        n=ratings,
        n_clusters=len(names),
        baseline=float(before.mean()),
        trained=float(after.mean()),
        estimate=held.estimate,
        ci_low=low,
        ci_high=high,
        target=target,
        improved=statistics.improved(change, "higher"),
        p_value=change.p,
        target_met=met,
        n_needed=statistics.n_needed(held.sd, held.estimate - target)
        if met == "inconclusive" and held.sd > 0
        else None,
        note=f"Share of the scale, (mean - 1) / 4, over ten characteristics of {len(names)} "
        "answers; 95 % t interval over scenarios. " + _said(change) + f" {len(weak)} cells of the "
        "trained model lie below 3.",
    )


def _said(change: Interval) -> str:
    between = ""
    if change.low is not None and change.high is not None:
        between = f" (95 % CI {100 * change.low:+.1f} to {100 * change.high:+.1f})"
    return f"Change {100 * change.estimate:+.1f} points{between}."


def below(found: Cells, model: str) -> list[str]:
    """`scenario characteristic` of every cell below 3."""
    return [
        f"{scenario} {name.removeprefix('voice_')}"
        for (side, scenario), values in sorted(found.items())
        for name, value in values.items()
        if side == model and value < LOW
    ]


def table(found: Cells, keys: Sequence[str], kind: EvidenceKind) -> Table:
    """A row per characteristic: levels 1-5, the paired change, and where the trained is below 3."""
    rows: list[tuple[str | int | float | bool | None, ...]] = []
    for key in keys:
        names = [s for (m, s), values in sorted(found.items()) if m == "trained" and key in values]
        if not names:
            continue
        before, after = (
            np.array([found[model, name][key] for name in names])
            for model in ("baseline", "trained")
        )
        change = statistics.paired_difference(before, after)
        weak = [name for name, value in zip(names, after, strict=True) if value < LOW]
        rows.append(
            (
                key.removeprefix("voice_"), kind.value, len(names), float(before.mean()),
                float(after.mean()), change.estimate, change.low, change.high, ", ".join(weak),
            )
        )  # fmt: skip
    return Table(
        columns=(
            "characteristic", "kind", "answers", "baseline", "trained", "change", "change_low",
            "change_high", "trained_below_3",
        ),
        rows=tuple(rows),
        caption=f"Voice, scored from 1 to 5 where it applies, evidence: {kind.words}; change in "
        "points of that scale, paired by scenario, 95 % CI.",
    )  # fmt: skip


def facts(found: Cells) -> dict[str, Any]:
    return {f"{model}_below_3": below(found, model) for model in ("baseline", "trained")}
