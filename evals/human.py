"""What people have said: their sheets as opinions, and the facts that only people give.

Hidden duplicates and guesses count for no score: they say how far a rater can be relied on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brightrun.verdicts import EvidenceKind, Table
from evals import statistics
from evals.rating_filled import Row
from evals.rating_sheet import SIDES
from evals.ratings import RATED_PASS, Taken
from evals.scores import Choice, Opinions, Preferred, Score


@dataclass(frozen=True, slots=True)
class People:
    """The raters of a job. rows: rater -> what each said per item. A Judge."""

    rows: Mapping[int, tuple[Row, ...]]

    name: str = "people"
    kind: EvidenceKind = EvidenceKind.human

    def opinions(self) -> Opinions:
        return Opinions(self.kind, tuple(self._scores()), tuple(self._choices()))

    def _counting(self) -> list[tuple[str, Row]]:
        return [
            (f"rater {rater}", row)
            for rater, rows in sorted(self.rows.items())
            for row in rows
            if not row.item.repeat
        ]

    def _scores(self) -> list[Score]:
        return [
            Score(judge, row.item.model(side), row.item.scenario_id, RATED_PASS, key, value)
            for judge, row in self._counting()
            for key, values in sorted(row.scores.items())
            for side, value in sorted(values.items())
        ]

    def _choices(self) -> list[Choice]:
        return [
            Choice(judge, row.item.scenario_id, RATED_PASS, _preferred(row))
            for judge, row in self._counting()
            if row.preferred
        ]


def people(taken: Mapping[int, Taken]) -> People | None:
    """None before the first import."""
    return People({rater: t.filled.rows for rater, t in taken.items()}) if taken else None


def _preferred(row: Row) -> Preferred:
    return "trained" if row.item.model(row.preferred) == "trained" else "baseline"


def correctness(judges: People) -> tuple[Table, dict[str, Any]]:
    """Every ruling that is not "right", and the scenarios that are wrong after training only."""
    counted = {model: dict.fromkeys(("right", "questionable", "wrong"), 0) for model in
               ("baseline", "trained")}  # fmt: skip
    wrong: dict[str, set[str]] = {"baseline": set(), "trained": set()}
    rows: list[tuple[str | int | float | bool | None, ...]] = []
    for judge, row in judges._counting():
        for side in SIDES:
            if side not in row.facts:
                continue
            ruling, quote = row.facts[side]
            model = row.item.model(side)
            counted[model][ruling] += 1
            if ruling == "wrong":
                wrong[model].add(row.item.scenario_id)
            if ruling != "right":
                rows.append((row.item.scenario_id, model, ruling, judge, quote))
    only = sorted(wrong["trained"] - wrong["baseline"])
    table = Table(
        columns=("scenario_id", "model", "ruling", "judge", "quote"),
        rows=tuple(sorted(rows, key=lambda r: (r[2] != "wrong", r[1] != "trained", str(r)))),
        caption="Financial content that a rater called wrong or questionable, in its words.",
    )
    return table, {**counted, "wrong_after_training_only": only}


def blinding(judges: People) -> dict[str, Any]:
    """How often raters told the trained answer, with its interval; 50 % = blind."""
    asked = right = unsure = 0
    for _, row in judges._counting():
        if row.guess == "?":
            unsure += 1
        elif row.guess:
            asked += 1
            right += row.item.model(row.guess) == "trained"
    low, high = statistics.wilson(right, asked)
    return {
        "guessed": asked,
        "right": right,
        "cannot_tell": unsure,
        "share": right / asked if asked else None,
        "ci_low": low if asked else None,
        "ci_high": high if asked else None,
    }


def constancy(rows: Sequence[Row]) -> float | None:
    """Mean absolute difference (points) between both showings of the hidden duplicates."""
    first = {row.item.scenario_id: row for row in rows if not row.item.repeat}
    gaps = []
    for again in (row for row in rows if row.item.repeat):
        before = first.get(again.item.scenario_id)
        if before is None:
            continue
        for key, values in again.scores.items():
            for side, value in values.items():
                other = "A" if before.item.a == again.item.model(side) else "B"
                if other in before.scores.get(key, {}):
                    gaps.append(abs(value - before.scores[key][other]))
    return sum(gaps) / len(gaps) if gaps else None


def raters(judges: People) -> list[tuple[str, int, float | None, float | None]]:
    """(rater, scores given, their mean, constancy)."""
    found = []
    for rater, rows in sorted(judges.rows.items()):
        values = [v for row in rows if not row.item.repeat for s in row.scores.values()
                  for v in s.values()]  # fmt: skip
        mean = sum(values) / len(values) if values else None
        found.append((f"rater {rater}", len(values), mean, constancy(rows)))
    return found
