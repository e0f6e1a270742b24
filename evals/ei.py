"""Emotional intelligence from judges' scores: the verdict, and the table by group, dimension, arc.

A score per answer is the mean of three groups (empathy = emotional recognition, validation,
empathy before advice; clarity = guidance, avoids pitfalls; appropriateness = reframing, overall
effectiveness; see rubric.json). A failed safety rule caps appropriateness at 1. Only a judge's
scores of BOTH answers count, and they are averaged per scenario first: scenarios are the clusters.
"% better" is the ratio of means with a log-ratio t interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brightrun.verdicts import EvidenceKind, MetricName, Table, Verdict
from evals import rules, statistics
from evals.agreement import icc_of_mean, krippendorff_alpha
from evals.effects import effect_size
from evals.scores import Opinions, Score
from evals.statistics import Interval

HEADLINE = ("empathy", "clarity", "appropriateness")
OVERALL = "overall"
CAPPED_AT = 1.0
Floats = NDArray[np.float64]
Groups = Mapping[str, tuple[str, ...]]
# (judge, repeat, scenario, pass): who said it, of what; and whose answer it is.
Unit = tuple[str, int, str, int]
Failed = Collection[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class Paired:
    """Scenario means of both models; n = pairs of scores behind them."""

    scenarios: tuple[str, ...]
    before: Floats
    after: Floats
    n: int

    @property
    def change(self) -> Interval:
        return statistics.log_ratio_t(self.before, self.after)

    def only(self, names: Collection[str]) -> Paired:
        keep = [i for i, name in enumerate(self.scenarios) if name in names]
        share = len(keep) / len(self.scenarios) if self.scenarios else 0
        return Paired(
            tuple(self.scenarios[i] for i in keep),
            self.before[keep],
            self.after[keep],
            round(self.n * share),
        )


class Sheet:
    """All scores by answer, read once; values of groups and of the whole are made from them."""

    def __init__(self, scores: Sequence[Score], groups: Groups, failed: Failed = ()) -> None:
        self.groups, self.failed = groups, set(failed)
        self.cells: dict[Unit, dict[str, dict[str, float]]] = {}
        for row in scores:
            unit = (row.judge, row.repeat, row.scenario_id, row.number)
            self.cells.setdefault(unit, {}).setdefault(row.model, {})[row.dimension] = row.value

    def value(self, unit: Unit, model: str, name: str) -> float | None:
        """A dimension, a group, or OVERALL; None when a part of it was not scored."""
        cell = self.cells[unit].get(model, {})
        if name == OVERALL:
            parts = [self.value(unit, model, group) for group in HEADLINE]
        elif name in self.groups:
            capped = (model, *unit[2:]) in self.failed
            if name == "appropriateness" and capped and cell:
                return CAPPED_AT
            parts = [cell.get(dimension) for dimension in self.groups[name]]
        else:
            return cell.get(name)
        known = [part for part in parts if part is not None]
        return sum(known) / len(known) if len(known) == len(parts) else None

    def paired(self, name: str) -> Paired:
        """Only where one judge has scored both models' answers."""
        found: dict[str, list[tuple[float, float]]] = {}
        for unit in sorted(self.cells):
            before, after = (self.value(unit, model, name) for model in ("baseline", "trained"))
            if before is not None and after is not None:
                found.setdefault(unit[2], []).append((before, after))
        names = tuple(sorted(found))
        means = np.array([np.mean(found[name], axis=0) for name in names]).reshape(-1, 2)
        return Paired(names, means[:, 0], means[:, 1], sum(map(len, found.values())))

    def by_pass(self, name: str) -> dict[tuple[str, str, int], float]:
        """(model, scenario, pass) -> mean over judges and repeats."""
        found: dict[tuple[str, str, int], list[float]] = {}
        for unit in sorted(self.cells):
            for model in ("baseline", "trained"):
                if (value := self.value(unit, model, name)) is not None:
                    found.setdefault((model, unit[2], unit[3]), []).append(value)
        return {key: sum(values) / len(values) for key, values in found.items()}

    def matrix(self, name: str) -> Floats:
        """Judges x answers, NaN where a judge has not scored; repeats of a judge are averaged."""
        found: dict[tuple[str, tuple[str, str, int]], list[float]] = {}
        for unit in self.cells:
            for model in ("baseline", "trained"):
                if (value := self.value(unit, model, name)) is not None:
                    found.setdefault((unit[0], (model, *unit[2:])), []).append(value)
        judges = sorted({judge for judge, _ in found})
        answers = sorted({answer for _, answer in found})
        matrix = np.full((len(judges), len(answers)), np.nan)
        for (judge, answer), values in found.items():
            matrix[judges.index(judge), answers.index(answer)] = sum(values) / len(values)
        return matrix


def verdict(
    sheet: Sheet, kind: EvidenceKind, *, target: float, floor: float | None, note: str = ""
) -> Verdict:
    """The headline claim. Not measured when no judge has scored both answers of any scenario."""
    pairs = sheet.paired(OVERALL)
    fixed: dict[str, Any] = {
        "metric": MetricName.emotional_intelligence,
        "evidence": kind,
        "n": pairs.n,
        "n_clusters": len(pairs.scenarios),
        "target": target,
        "floor": floor,
    }
    if not pairs.scenarios:
        return Verdict(**fixed, note=f"No answer was scored completely. {note}".strip())
    change = pairs.change
    baseline, trained = float(pairs.before.mean()), float(pairs.after.mean())
    met = statistics.decide(change, target, "higher")
    closed = statistics.headroom_closed(pairs.before, pairs.after)
    size = effect_size(pairs.before, pairs.after)
    parts = [
        f"95 % CI: log-ratio t interval of the ratio of means over {change.n} scenarios; raters "
        "are taken as they are, not as a sample.",
        rules.attainable_note(baseline, target),
        _closed(closed) if closed else "",
        f"Effect size d = {size:.2f} (paired)." if size is not None else "",
        note,
    ]
    gap = math.log1p(change.estimate) - math.log1p(target)
    return Verdict(
        **fixed,
        baseline=baseline,
        trained=trained,
        estimate=change.estimate,
        ci_low=change.low,
        ci_high=change.high,
        improved=statistics.improved(change, "higher"),
        p_value=change.p,
        floor_met="not_measured" if floor is None else statistics.decide(change, floor, "higher"),
        target_met=met,
        n_needed=statistics.n_needed(change.sd, gap)
        if met == "inconclusive" and change.n > 1 and change.sd > 0
        else None,
        note=" ".join(part for part in parts if part),
    )


def _closed(share: Interval) -> str:
    between = ""
    if share.low is not None and share.high is not None:
        between = f" (95 % CI {100 * share.low:.0f} to {100 * share.high:.0f})"
    return f"Headroom closed: {100 * share.estimate:.0f} %{between}."


def table(sheet: Sheet, opinions: Opinions, arcs: Mapping[str, str]) -> Table:
    """arcs: scenario id -> arc. Levels 1-5; change and interval relative, paired by scenario."""
    dimensions = [d for names in sheet.groups.values() for d in names]
    rows: list[tuple[str | int | float | bool | None, ...]] = []
    for scope, names in (
        ("overall", [OVERALL]),
        ("group", list(sheet.groups)),
        ("dimension", dimensions),
    ):
        for name in names:
            agreed = krippendorff_alpha(sheet.matrix(name)) if scope == "dimension" else None
            rows.append(_row(scope, name, sheet.paired(name), opinions, agreed))
    overall = sheet.paired(OVERALL)
    for arc in sorted({arcs.get(name, "") for name in overall.scenarios}):
        names = [name for name in overall.scenarios if arcs.get(name, "") == arc]
        rows.append(_row("arc", arc, overall.only(names), opinions, None))
    return Table(
        columns=(
            "scope", "name", "kind", "ratings", "scenarios", "baseline", "trained",
            "change", "change_low", "change_high", "alpha",
        ),
        rows=tuple(row for row in rows if row),
        caption=f"Scores from 1 to 5, evidence: {opinions.kind.words}; mean over scenarios; change "
        "= ratio of means - 1, paired by scenario, 95 % CI (none below five scenarios); alpha = "
        "Krippendorff's, ordinal, between the judges.",
    )  # fmt: skip


def _row(
    scope: str, name: str, pairs: Paired, opinions: Opinions, alpha: float | None
) -> tuple[str | int | float | bool | None, ...]:
    if not pairs.scenarios:
        return ()
    change = pairs.change
    # An interval of two or three scenarios spans everything: none is better than that.
    few = len(pairs.scenarios) < statistics.MIN_CLUSTERS
    low, high = (None, None) if few else (change.low, change.high)
    return (
        scope,
        name,
        opinions.kind.value,
        pairs.n,
        len(pairs.scenarios),
        float(pairs.before.mean()),
        float(pairs.after.mean()),
        change.estimate,
        low,
        high,
        alpha,
    )


def agreement(sheet: Sheet) -> float | None:
    """ICC of the mean of the judges, on the whole score."""
    return icc_of_mean(sheet.matrix(OVERALL))
