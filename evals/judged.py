"""From what judges said to verdicts, tables, flags and facts: people first, else language models.

The headline is carried by one kind of evidence: people when any rated, else calibrated language
models, else uncalibrated ones. What the others say stands in the table of judges.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from brightrun.modelnames import MODELS
from brightrun.verdicts import NO_TABLE, EvidenceKind, Table, Verdict
from evals import ei, human, rules, statistics, voice_rated
from evals.effects import effect_size, length_adjusted, outliers, preference
from evals.human import People
from evals.phrases import words
from evals.rating import Rubric
from evals.scores import Opinions
from evals.statistics import Interval

ORDER = (EvidenceKind.human, EvidenceKind.llm_judge, EvidenceKind.llm_judge_uncalibrated)
Texts = Mapping[tuple[str, str, int], str]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the Evaluation takes over. flags: sentences that must be seen first."""

    ei: Verdict
    voice: Verdict | None
    ei_table: Table = NO_TABLE
    voice_table: Table = NO_TABLE
    correctness: Table = NO_TABLE
    judges: Table = NO_TABLE
    flags: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Basis:
    """What every judge's words are set against."""

    rubric: Rubric
    arcs: Mapping[str, str]
    texts: Texts
    failed: Collection[tuple[str, str, int]]
    targets: Mapping[str, float]
    floor: float | None


def conclude(found: Sequence[Opinions], people: People | None, basis: Basis) -> Judged | None:
    """None when nobody has judged anything."""
    said = [part for part in found if part.scores]
    if not said:
        return None
    said.sort(key=lambda part: ORDER.index(part.kind))
    first = said[0]
    sheet = ei.Sheet(first.scores, basis.rubric.groups, basis.failed)
    cells = voice_rated.cells(first.scores, basis.rubric.voice_keys)
    rated = sum(row.dimension in basis.rubric.voice_keys for row in first.scores)
    headline = ei.verdict(
        sheet,
        first.kind,
        target=basis.targets["emotional_intelligence"],
        floor=basis.floor,
        note=_agreement_note(sheet),
    )
    voice = voice_rated.verdict(cells, rated, first.kind, basis.targets["brand_voice"])
    wrong, rulings = human.correctness(people) if people else (NO_TABLE, {})
    blind = human.blinding(people) if people else {}
    return Judged(
        ei=_unless_same(headline, basis),
        voice=voice and _unless_same(voice, basis),
        ei_table=ei.table(sheet, first, basis.arcs),
        voice_table=voice_rated.table(cells, basis.rubric.voice_keys, first.kind),
        correctness=wrong,
        judges=_judges(said, people, basis),
        flags=(*_wrong_flags(rulings, wrong), *_blinding_flag(blind)),
        facts={
            **_facts(sheet, first, basis),
            "voice": voice_rated.facts(cells),
            **({"correctness": rulings, "blinding": blind} if people else {}),
        },
    )


def _unless_same(verdict: Verdict, basis: Basis) -> Verdict:
    """The same answers word for word pass nothing, however high they are rated."""
    sides = [
        {key[1:]: text for key, text in basis.texts.items() if key[0] == model} for model in MODELS
    ]
    if sides[0] != sides[1] or not sides[0]:
        return verdict
    said = "Both models gave the same answers word for word: the adapter changed nothing here."
    changes: dict[str, Any] = {"improved": None, "note": f"{said} {verdict.note}"}
    if verdict.target_met == "pass":
        changes["target_met"] = "inconclusive"
    if verdict.floor_met == "pass":
        changes["floor_met"] = "inconclusive"
    return verdict.model_copy(update=changes)


def _agreement_note(sheet: ei.Sheet) -> str:
    together = ei.agreement(sheet)
    if len({unit[0] for unit in sheet.cells}) < 2:
        return "One judge alone: no agreement can be shown."
    if together is None:
        return "No agreement can be shown: too few answers in common, or all scores alike."
    return f"Agreement of the judges' mean (ICC): {together:.2f}."


def _facts(sheet: ei.Sheet, first: Opinions, basis: Basis) -> dict[str, Any]:
    pairs = sheet.paired(ei.OVERALL)
    found: dict[str, Any] = {
        "kind": first.kind.value,
        "icc_of_mean": ei.agreement(sheet),
        "preference": _preference(first),
        "outlier_passes": [
            f"{model} {scenario} pass {number}"
            for model, scenario, number in outliers(sheet.by_pass(ei.OVERALL))
        ],
    }
    if not pairs.scenarios:
        return found
    closed = statistics.headroom_closed(pairs.before, pairs.after)
    ratios = _length_ratios(pairs.scenarios, basis, sheet.by_pass(ei.OVERALL))
    adjusted = length_adjusted(pairs.after - pairs.before, ratios)
    return {
        **found,
        "max_attainable_gain": rules.max_attainable_gain(float(pairs.before.mean())),
        "headroom_closed": _interval(closed) if closed else None,
        "effect_size_d": effect_size(pairs.before, pairs.after),
        "difference": _interval(statistics.paired_difference(pairs.before, pairs.after)),
        "difference_at_equal_length": _interval(adjusted) if adjusted else None,
    }


def _interval(found: Interval) -> dict[str, float | int | None]:
    return {"estimate": found.estimate, "low": found.low, "high": found.high, "n": found.n}


def _length_ratios(
    scenarios: Sequence[str], basis: Basis, rated: Collection[tuple[str, str, int]]
) -> list[float]:
    """log(words of the trained answers / of the baseline's), mean over the passes in `rated`."""
    found = []
    for name in scenarios:
        sides = []
        for model in ("baseline", "trained"):
            texts = [t for k, t in basis.texts.items() if k[:2] == (model, name) and k in rated]
            sides.append(sum(math.log(1 + len(words(t))) for t in texts) / max(1, len(texts)))
        found.append(sides[1] - sides[0])
    return found


def _preference(opinions: Opinions) -> dict[str, Any] | None:
    """Share that prefers the trained answer (a tie is a half), clustered by scenario."""
    worth = {"trained": 1.0, "tie": 0.5, "baseline": 0.0}
    found: dict[str, list[float]] = {}
    for choice in opinions.choices:
        found.setdefault(choice.scenario_id, []).append(worth[choice.preferred])
    if not found:
        return None
    rate = preference([sum(values) / len(values) for _, values in sorted(found.items())])
    ties = sum(choice.preferred == "tie" for choice in opinions.choices)
    return {
        **_interval(rate),
        "kind": opinions.kind.value,
        "choices": len(opinions.choices),
        "ties": ties,
    }


def _judges(said: Sequence[Opinions], people: People | None, basis: Basis) -> Table:
    rows: list[tuple[str | int | float | bool | None, ...]] = []
    steady = {name: gap for name, _, _, gap in human.raters(people)} if people else {}
    for part in said:
        for judge in part.judges:
            scores = [row for row in part.scores if row.judge == judge]
            sheet = ei.Sheet(scores, basis.rubric.groups, basis.failed)
            pairs = sheet.paired(ei.OVERALL)
            change = pairs.change if pairs.scenarios else None
            rows.append(
                (
                    judge, part.kind.value, len(scores), len(pairs.scenarios),
                    float(pairs.before.mean()) if change else None,
                    float(pairs.after.mean()) if change else None,
                    change.estimate if change else None,
                    change.low if change else None,
                    change.high if change else None,
                    steady.get(judge),
                )
            )  # fmt: skip
    return Table(
        columns=(
            "judge", "kind", "ratings", "scenarios", "baseline", "trained",
            "change", "change_low", "change_high", "duplicate_gap",
        ),
        rows=tuple(rows),
        caption="Each judge alone: mean of the EI score, ratio of means - 1 with 95 % CI; "
        "duplicate gap = mean difference, in points, when the same answer came back unnoticed.",
    )  # fmt: skip


def _wrong_flags(rulings: Mapping[str, Any], table: Table) -> list[str]:
    found = []
    for name in rulings.get("wrong_after_training_only", ()):
        quotes = [
            str(row[4]) for row in table.rows if row[:3] == (name, "trained", "wrong") and row[4]
        ]
        found.append(
            f"Scenario {name}: financial content called wrong in the trained answer only "
            f"(\u201c{quotes[0][:160]}\u201d)."
        )
    return found


def _blinding_flag(blind: Mapping[str, Any]) -> list[str]:
    low = blind.get("ci_low")
    if low is None or low <= 0.5:
        return []
    return [
        f"The raters could tell which answer is the trained one ({blind['right']} of "
        f"{blind['guessed']} guesses right): read their scores as not blind."
    ]
