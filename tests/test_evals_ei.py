"""From judges' scores to the EI verdict: its properties hold on opinions whose truth is known."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rating_sheets import RUBRIC
from scipy import stats

from brightrun.verdicts import EvidenceKind, MetricName, Verdict
from evals import effects, ei, headlines, statistics
from evals.agreement import icc_of_mean, krippendorff_alpha
from evals.judged import Basis, Judged, conclude
from evals.scores import Choice, Opinions, Score

ARCS = ("shame", "crisis", "mixed", "couple")
Value = Callable[[str, str, str, str], float]


def opinions(
    value: Value,
    scenarios: int = 20,
    raters: int = 3,
    passes: int = 1,
    kind: EvidenceKind = EvidenceKind.human,
    keys: tuple[str, ...] = (*RUBRIC.dimension_keys, *RUBRIC.voice_keys),
) -> Opinions:
    """value: (rater, model, scenario, dimension) -> score."""
    scores = [
        Score(f"rater {r}", model, name, number, key, value(f"{r}", model, name, key))
        for r in range(1, raters + 1)
        for name in (f"S{n:02d}" for n in range(scenarios))
        for number in range(1, passes + 1)
        for model in ("baseline", "trained")
        for key in keys
    ]
    choices = [
        Choice(f"rater {r}", f"S{n:02d}", 1, "trained" if n % 4 else "tie")
        for r in range(1, raters + 1)
        for n in range(scenarios)
    ]
    return Opinions(kind, tuple(scores), tuple(choices))


def basis(scenarios: int = 20, **changes: Any) -> Basis:
    names = [f"S{n:02d}" for n in range(scenarios)]
    texts = {
        (model, name, 1): "word " * (40 + 5 * (model == "trained") + len(name) + position)
        for position, name in enumerate(names)
        for model in ("baseline", "trained")
    }
    made = Basis(
        rubric=RUBRIC,
        arcs={name: ARCS[i % 4] for i, name in enumerate(names)},
        texts=texts,
        failed=(),
        targets={"emotional_intelligence": 0.40, "brand_voice": 0.85},
        floor=0.20,
    )
    return replace(made, **changes)


def draw(*parts: str) -> random.Random:
    return random.Random("/".join(parts))


def better(rater: str, model: str, scenario: str, key: str) -> float:
    base = draw(scenario, key).randint(1, 3) + draw(rater, scenario, key, model).choice((0, 0, 1))
    return min(5, base + (model == "trained") * draw(scenario).choice((1, 1, 2)))


def same(rater: str, model: str, scenario: str, key: str) -> float:
    return draw(rater, scenario, key).choice((3, 4, 5, 5, 5, 5))


def judged(found: Opinions, **changes: Any) -> Judged:
    made = conclude([found], None, basis(**changes))
    assert made
    return made


def test_improved_above_the_floor_and_target_are_three_lines_of_the_whole_interval() -> None:
    v = judged(opinions(better)).ei
    assert (v.improved, v.floor_met, v.evidence) == (True, "pass", EvidenceKind.human)
    assert v.ci_low is not None
    assert v.ci_high is not None
    assert 0.2 <= v.ci_low < (v.estimate or 0) < v.ci_high
    assert v.target_met == statistics.decide(
        statistics.Interval(0.0, v.ci_low, v.ci_high, 0.0, 20), 0.4, "higher"
    )
    assert (v.n, v.n_clusters) == (60, 20)
    assert re.search(r"Headroom closed: \d+ % \(95 % CI \d+ to \d+\)", v.note)
    assert "Effect size d" in v.note


def test_identical_scores_differ_by_zero_with_an_interval_and_pass_nothing() -> None:
    found = judged(opinions(same))
    for v in (found.ei, found.voice):
        assert v
        assert v.improved is None
        assert v.p_value == 1.0
    assert (found.ei.estimate, found.ei.ci_low, found.ei.ci_high) == (0, 0, 0)
    assert (found.ei.target_met, found.ei.floor_met) == ("fail", "fail")
    for row in (*found.ei_table.rows, *found.voice_table.rows):
        assert all(cell == 0 for cell in row[5:8] if isinstance(cell, float) and cell < 1)
    assert "NaN" not in json.dumps([found.facts, [list(r) for r in found.ei_table.rows]])


def test_the_same_answers_word_for_word_pass_nothing_however_high_they_are_rated() -> None:
    texts = {(m, f"S{n:02d}", 1): "the same" for m in ("baseline", "trained") for n in range(20)}
    found = judged(opinions(lambda *_: 5.0 if _[1] == "trained" else 2.0), texts=texts)
    assert found.voice
    for v in (found.ei, found.voice):
        assert (v.improved, v.target_met) == (None, "inconclusive")
        assert "word for word" in v.note
    assert found.ei.floor_met == "inconclusive"
    (settled,) = headlines.settle([found.ei], {"emotional_intelligence": 0.2})
    assert (settled.floor, settled.floor_met) == (0.2, "inconclusive")


def test_several_judges_without_agreement_are_not_called_one() -> None:
    assert "One judge alone" in judged(opinions(better, raters=1)).ei.note
    steady = judged(opinions(lambda *_: 4.0)).ei
    assert "No agreement can be shown" in steady.note
    assert "One judge alone" not in steady.note


def test_the_length_of_answers_that_nobody_rated_does_not_count() -> None:
    found = opinions(better)
    one = judged(found).facts["difference_at_equal_length"]
    texts = dict(basis().texts)
    longer = {(m, s, 2): "word " * (900 if m == "trained" else 9) for m, s, _ in texts}
    # Differently by scenario: the same everywhere would change the slope only.
    longer |= {("trained", f"S{n:02d}", 2): "word " * 5**n for n in range(5)}
    assert judged(found, texts=texts | longer).facts["difference_at_equal_length"] == one


def test_swapped_labels_turn_an_improvement_r_into_its_inverse() -> None:
    other = {"baseline": "trained", "trained": "baseline"}
    first = judged(opinions(better)).ei
    second = judged(opinions(lambda r, m, s, k: better(r, other[m], s, k))).ei
    assert first.estimate is not None
    assert first.ci_low is not None
    assert second.estimate == pytest.approx(1 / (1 + first.estimate) - 1)
    assert second.ci_high == pytest.approx(1 / (1 + first.ci_low) - 1)
    assert (second.improved, second.target_met) == (False, "fail")


def test_permuted_labels_give_uniform_p_values_and_rarely_an_improvement() -> None:
    rng = np.random.default_rng(11)
    scores = 1 + rng.binomial(8, 0.45, size=(50, 2)) / 2 + rng.normal(0, 0.4, (50, 2))
    p_values, improved = [], 0
    for _ in range(2000):
        flips = rng.random(50) < 0.5
        before = np.where(flips, scores[:, 0], scores[:, 1])
        after = np.where(flips, scores[:, 1], scores[:, 0])
        change = ei.Paired(tuple(map(str, range(50))), before, after, 50).change
        assert change.p is not None
        p_values.append(change.p)
        improved += statistics.improved(change, "higher") is True
    assert improved / 2000 <= 0.06
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_forty_percent_above_a_baseline_of_three_point_eight_is_called_unattainable() -> None:
    def high(rater: str, model: str, scenario: str, key: str) -> float:
        return 5.0 if model == "trained" else 3.8 + draw(scenario).choice((-0.2, 0.2))

    v = judged(opinions(high), arcs={}).ei
    assert v.baseline == pytest.approx(3.8, abs=0.1)
    most = 5 / v.baseline - 1 if v.baseline else 0
    assert f"+40 % unattainable (max +{100 * most:.1f} %)" in v.note


def test_a_failed_safety_rule_caps_appropriateness_at_one() -> None:
    found = opinions(lambda *_: 4.0, scenarios=6)
    sheet = ei.Sheet(found.scores, RUBRIC.groups, {("trained", "S00", 1)})
    unit = ("rater 1", 1, "S00", 1)
    assert sheet.value(unit, "trained", "appropriateness") == 1
    assert sheet.value(unit, "baseline", "appropriateness") == 4
    assert sheet.value(unit, "trained", ei.OVERALL) == pytest.approx(3)


def test_only_a_judges_scores_of_both_answers_count() -> None:
    found = opinions(better, scenarios=6, raters=2)
    half = [s for s in found.scores if (s.judge, s.model) != ("rater 2", "trained")]
    assert ei.Sheet(half, RUBRIC.groups).paired(ei.OVERALL).n == 6
    none = [s for s in found.scores if s.model == "baseline"]
    v = ei.verdict(ei.Sheet(none, RUBRIC.groups), found.kind, target=0.4, floor=0.2)
    assert (v.n, v.target_met) == (0, "not_measured")


def test_passes_and_repeats_of_a_scenario_are_one_cluster() -> None:
    v = judged(opinions(better, passes=3)).ei
    assert (v.n, v.n_clusters) == (180, 20)
    four = judged(opinions(better, scenarios=4), scenarios=4).ei
    assert (four.improved, four.target_met) == (None, "inconclusive")


def test_the_table_has_groups_dimensions_and_arcs_and_no_interval_from_few_scenarios() -> None:
    table = judged(opinions(better, scenarios=12), scenarios=12).ei_table
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [r["name"] for r in rows if r["scope"] == "arc"] == sorted(ARCS)
    assert all(r["change_low"] is None for r in rows if r["scope"] == "arc")
    dims = [r for r in rows if r["scope"] == "dimension"]
    assert len(dims) == 8
    assert all(0 < r["alpha"] <= 1 for r in dims if isinstance(r["alpha"], float))
    assert {r["kind"] for r in rows} == {"human"}
    assert all(r["ratings"] and r["scenarios"] for r in rows)


def test_people_carry_the_headline_before_language_models() -> None:
    people = opinions(same)
    model = opinions(better, raters=1, kind=EvidenceKind.llm_judge_uncalibrated)
    made = conclude([model, people], None, basis())
    assert made
    assert made.ei.evidence is EvidenceKind.human
    assert {row[1] for row in made.judges.rows} == {"human", "llm_judge_uncalibrated"}
    assert conclude([], None, basis()) is None


def test_preference_length_and_outlier_passes_stand_in_the_facts() -> None:
    facts = judged(opinions(better)).facts
    assert facts["preference"]["estimate"] == pytest.approx(0.875)
    assert facts["preference"]["low"] > 0.5
    assert facts["preference"]["n"] == 20
    assert facts["difference_at_equal_length"]["n"] == 20
    assert facts["outlier_passes"] == []
    found = effects.outliers({("trained", "S1", 1): 2.0, ("trained", "S1", 2): 4.0})
    assert found == [("trained", "S1", 1), ("trained", "S1", 2)]
    assert effects.outliers({("trained", "S1", 1): 2.0}) == []


def test_a_gain_that_only_length_made_is_gone_at_equal_length() -> None:
    rng = np.random.default_rng(5)
    ratio = rng.uniform(0.2, 1.0, 60)
    left = effects.length_adjusted(0.9 * ratio + rng.normal(0, 0.1, 60), ratio)
    assert left
    assert left.low is not None
    assert left.high is not None
    assert left.low < 0 < left.high
    kept = effects.length_adjusted(0.5 + rng.normal(0, 0.1, 60), ratio)
    assert kept
    assert kept.low is not None
    assert kept.low > 0.3
    assert effects.length_adjusted([1, 1, 1, 1], [0, 0, 0, 0]) is None


def test_the_same_opinions_in_any_order_give_the_same_bytes() -> None:
    found = opinions(better)
    mixed = Opinions(found.kind, found.scores[::-1], found.choices[::-1])

    def text(made: Judged) -> str:
        tables = (made.ei_table, made.voice_table, made.judges)
        return made.ei.model_dump_json() + "".join(t.model_dump_json() for t in tables)

    assert text(judged(found)) == text(judged(mixed))


def test_alpha_and_icc_give_the_published_values() -> None:
    no = np.nan
    example = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, no, no, no],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, no, 3],
        [no, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, no],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, no],
    ]
    # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), ordinal data.
    assert krippendorff_alpha(example) == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha([[3, 3, 3], [3, 3, 3]]) is None
    # Shrout and Fleiss (1979), ICC(2,4).
    judges = [[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4], [8, 2, 8, 6, 9, 7]]
    assert icc_of_mean(judges) == pytest.approx(0.62, abs=5e-3)
    assert icc_of_mean([[1, 2, 3]]) is None


def test_holm_takes_back_an_improvement_that_is_not_significant_among_all() -> None:
    assert effects.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])

    def verdict(metric: MetricName, p: float) -> Verdict:
        return Verdict(
            metric=metric, evidence=EvidenceKind.measurement, n=20, n_clusters=20, estimate=0.3,
            ci_low=0.1, ci_high=0.5, improved=True, p_value=p,
        )  # fmt: skip

    first, second, index = headlines.settle(
        [
            verdict(MetricName.emotional_intelligence, 0.001),
            verdict(MetricName.brand_voice, 0.04),
            verdict(MetricName.marker_index, 0.04),
        ],
        {"emotional_intelligence": 0.2},
    )
    assert (first.improved, first.p_holm, first.floor_met) == (True, 0.002, "inconclusive")
    assert second.improved is True
    (alone, other, _) = headlines.settle(
        [
            verdict(MetricName.emotional_intelligence, 0.03),
            verdict(MetricName.brand_voice, 0.04),
            verdict(MetricName.marker_index, 0.04),
        ],
        {},
    )
    assert (alone.improved, other.improved) == (None, None)
    assert "Holm" in alone.note
    assert index.p_holm is None
