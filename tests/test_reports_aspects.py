"""What the examples show of empathy, clarity, financial accuracy and voice; who judged it."""

from __future__ import annotations

from collections import Counter

import pytest
import report_samples

from brightrun.verdicts import Evaluation, EvidenceKind, Mark, MetricName, Table, Verdict
from evals.examples import Scored, select
from evals.sources import load_scenarios
from reports import aspects, before_after, validation
from reports.words import WORDS

WRONG = Table(
    columns=("scenario_id", "model", "ruling", "judge", "quote"),
    rows=(("S01", "trained", "wrong", "rater 1", "about <b>$125</b> in interest"),),
)


def evaluation(**changes: object) -> Evaluation:
    return report_samples.evaluation().model_copy(update=changes)


def test_amounts_and_percentages_are_found_and_plain_numbers_are_not() -> None:
    text = "Of $6,240, pay $1,240.50 at 24%, or 3.5 percent, in 12 months; the 401(k) of 2,026."
    assert [text[m.start : m.end] for m in aspects.figures(text)] == [
        "$6,240", "$1,240.50", "24%", "3.5 percent"
    ]  # fmt: skip
    assert aspects.figures("9" * 20_000) == ()


def test_every_aspect_is_counted_and_says_that_nobody_judged() -> None:
    mark = (Mark(start=0, end=4, kind="emotion"),)
    shown = report_samples.examples(2)
    shown = (shown[0].model_copy(update={"trained_marks": mark}), shown[1])
    rows = {(row[0], row[1]): row[2:] for row in aspects.table(evaluation(examples=shown)).rows}
    assert {aspect for aspect, _ in rows} == {"Empathy", "Clarity", "Financial accuracy", "Voice"}
    feeling = rows["Empathy", "emotion named or feeling accepted"]
    assert feeling == ("0 of 2", "1 of 2", aspects.NOBODY)
    # The baseline names no amount; both trained answers do.
    assert rows["Financial accuracy", "amount or percentage"] == (
        "0 of 2", "2 of 2", aspects.UNCHECKED
    )  # fmt: skip
    # An automatic index is no judgement.
    assert rows["Voice", "the voice index beside each example"][2] == aspects.NOBODY
    assert aspects.table(evaluation(examples=())).rows == ()


def test_who_judged_is_named_once_somebody_did() -> None:
    def rated(verdict: Verdict) -> Verdict:
        changes = {"n": 90, "n_clusters": 30, "estimate": 0.3, "evidence": EvidenceKind.human}
        ei = verdict.metric is MetricName.emotional_intelligence
        return verdict.model_copy(update=changes) if ei else verdict

    counts = {"trained": {"right": 8, "questionable": 1, "wrong": 1}}
    found = evaluation(
        verdicts=tuple(map(rated, report_samples.verdicts())),
        facts={"judged": {"correctness": counts}},
    )
    said = {row[0]: row[4] for row in aspects.table(found).rows}
    assert said["Empathy"] == said["Clarity"] == "rated by people"
    assert said["Financial accuracy"] == (
        "rated by people, all trained answers: right 8, questionable 1, wrong 1"
    )


def test_what_raters_called_wrong_stands_at_its_example() -> None:
    first, second = report_samples.examples(2)
    shown = before_after.example(1, first, dict(WORDS), WRONG)
    assert "Financial accuracy: trained: wrong (rater 1: “about &lt;b&gt;$125" in shown
    assert '"trained: wrong (rater 1: “about <b>$125</b> in interest”)"' in shown
    assert "Financial accuracy" not in before_after.example(2, second, dict(WORDS), WRONG)
    assert '<mark class="figure">$125</mark>' in shown
    assert '("figure", "$125", )' in shown


def test_the_report_shows_the_aspects_before_its_examples() -> None:
    data = report_samples.sample()
    found = validation.context(data, dict.fromkeys(validation.charts_of(data)))
    assert "have every figure checked by a person" in found["aspects"]
    assert "amount or percentage" in found["legend"]


def test_the_choice_of_examples_is_told_as_it_was() -> None:
    found = evaluation(facts={"seeds": {"examples": 42}})
    data = report_samples.sample(evaluation=found)
    values = validation.context(data, dict.fromkeys(validation.charts_of(data)))
    shown = str(values["examples_sentence"])
    assert "the 4 best and the 3 worst by the change" in shown
    assert "3 drawn at random (seed 42), and 2 safety cases" in shown


@pytest.mark.parametrize(
    ("plain", "wanted"), [(2, (1, 1, 0)), (3, (1, 1, 1)), (8, (3, 3, 2)), (13, (4, 4, 4))]
)
def test_some_examples_are_drawn_also_where_there_are_few(
    plain: int, wanted: tuple[int, int, int]
) -> None:
    scenarios = [s for s in load_scenarios() if s.safety == "none"][:plain]
    sides = {
        s.scenario_id: (Scored("", {}, 0.0, False), Scored("", {}, float(n), False))
        for n, s in enumerate(scenarios)
    }
    chosen = select(scenarios, sides, seed=42)
    kinds = Counter(why for _, why in chosen)
    if plain > 10:  # below, all that is left fills up to ten
        assert (kinds["best"], kinds["worst"], kinds["random"]) == wanted
    assert (kinds["best"], kinds["worst"]) == wanted[:2]
    assert kinds["random"] >= wanted[2]
    assert len({s.scenario_id for s, _ in chosen}) == len(chosen)
