from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import report_samples

from brightrun.verdicts import EvidenceKind, MetricName, Verdict
from evals import honesty
from reports import (
    blocks,
    cards,
    claims,
    deck,
    meaning,
    package,
    questions,
    summary,
    validation,
)
from reports.metricwords import words_of


def perplexity(**changes: object) -> Verdict:
    found = next(v for v in report_samples.verdicts() if v.metric is MetricName.perplexity)
    return found.model_copy(update=changes)


def test_an_improvement_and_a_missed_target_are_two_statements() -> None:
    said = claims.sentence(perplexity())
    assert said == (
        "Improved from 13.47 to 11.07 (−17.8%; 95% interval −21.4% to −13.9%), on 6 held-out "
        "conversations, measured on the model. The target (−30% or lower) is not met."
    )


@pytest.mark.parametrize(
    ("improved", "word"),
    [(True, "Improved"), (False, "Got worse"), (None, "No difference shown")],
)
def test_the_evidence_decides_the_word(improved: bool | None, word: str) -> None:
    said = claims.sentence(perplexity(improved=improved))
    assert said.startswith(word)
    others = {"Improved", "Got worse", "No difference shown"} - {word}
    assert not any(other in said for other in others)


def test_nothing_is_claimed_without_a_measurement() -> None:
    verdict = Verdict(
        metric=MetricName.emotional_intelligence, evidence=EvidenceKind.human, n=0, n_clusters=0,
        target=0.4,
    )  # fmt: skip
    assert claims.sentence(verdict) == "Not measured: no claim is made."
    assert claims.status(verdict) == "Not measured"
    assert claims.ei_claim([verdict]) == "EI claim: not measured"
    assert claims.ei_claim([]) == "EI claim: not measured"


def test_a_measured_ei_claim_names_its_evidence() -> None:
    verdict = Verdict(
        metric=MetricName.emotional_intelligence, evidence=EvidenceKind.llm_judge_uncalibrated,
        n=50, n_clusters=50, baseline=2.9, trained=3.8, estimate=0.31, ci_low=0.22, ci_high=0.4,
        target=0.4, improved=True, target_met="inconclusive", n_needed=230,
    )  # fmt: skip
    assert claims.ei_claim([verdict]) == (
        "EI claim: improved, +31.0% (95% interval +22.0% to +40.0%; 50 scenarios; "
        "judged by a language model, not calibrated)"
    )
    assert "about 230 scenarios would settle it" in claims.sentence(verdict)


def test_an_automatic_index_is_never_a_score_or_a_met_target() -> None:
    voice = next(v for v in report_samples.verdicts() if v.metric is MetricName.brand_voice)
    said = claims.sentence(voice)
    assert "automatic markers" in said
    assert "+21.4 points" in said
    assert "/5" not in said
    assert claims.status(voice) == "Not measured"
    assert words_of(voice).label == "Voice index"


def test_the_same_metric_rated_by_people_is_a_share() -> None:
    voice = Verdict(
        metric=MetricName.brand_voice, evidence=EvidenceKind.human, n=30, n_clusters=30,
        trained=0.9, estimate=0.9, ci_low=0.86, ci_high=0.93, target=0.85, target_met="pass",
    )  # fmt: skip
    assert claims.sentence(voice) == (
        "90.0% reached after training (95% interval 86.0% to 93.0%), on 30 answers, rated by "
        "people. The target (85% or more) is met."
    )


def test_knowledge_that_cannot_be_retained_makes_no_claim() -> None:
    verdict = Verdict(
        metric=MetricName.knowledge_retention, evidence=EvidenceKind.measurement, n=25,
        n_clusters=25, target=0.95, target_met="inconclusive", note="The baseline knew nothing.",
    )  # fmt: skip
    assert claims.sentence(verdict) == "No claim can be made. The baseline knew nothing."
    assert claims.status(verdict) == "Inconclusive"


def test_knowledge_at_chance_leads_with_that_and_keeps_no_percentage() -> None:
    why = (
        "The baseline is not above chance (95 % CI 11-43 % includes 25 % or lies below): retention "
        "of near-chance knowledge proves nothing."
    )
    verdict = Verdict(
        metric=MetricName.knowledge_retention, evidence=EvidenceKind.measurement, n=25,
        n_clusters=25, baseline=0.24, trained=0.24, estimate=1.0, ci_low=0.61, ci_high=1.64,
        target=0.95, target_met="inconclusive", proves_nothing=why, note="95 % CI. One.",
    )  # fmt: skip
    assert claims.sentence(verdict) == (
        "The baseline is not above chance (95% CI 11-43% includes 25% or lies below): retention of "
        "near-chance knowledge proves nothing: 24.0% of the answers correct before, 24.0% after; "
        "no difference shown, on 25 questions, measured on the model. The target (95% or more) is "
        "neither shown nor ruled out."
    )
    assert claims.estimate(verdict) == "100.0%"  # the verdict table's number
    section = str(blocks.finding(verdict))
    html = section[: section.index("```{=typst}")] if "```{=typst}" in section else section
    assert html.count("proves nothing") == 1
    assert "95% CI. One." in html
    assert meaning.means(verdict) == meaning.OPEN
    assert questions.improved(verdict) == "not shown"
    known = verdict.model_copy(update={"proves_nothing": ""})
    assert claims.sentence(known).startswith("100.0% of the knowledge was retained (95% interval")


def test_a_withdrawn_index_says_so_on_page_1_and_slides_and_in_its_section() -> None:
    data = report_samples.sample()
    trust = honesty.Trust({honesty.VOICE: 0.7}, 20, 20, True)
    verdicts = tuple(
        honesty.judged_by(v, honesty.VOICE, trust) if v.metric is MetricName.brand_voice else v
        for v in data.evaluation.verdicts
    )
    voice = next(v for v in verdicts if v.metric is MetricName.brand_voice)
    said = claims.sentence(voice)
    assert said == (
        "No claim can be made. Withdrawn: the index does not tell written answers from neutral "
        "rewrites (AUC 0.70, 20 x 20 pairs)."
    )
    evaluation = data.evaluation.model_copy(update={"verdicts": verdicts})
    gone = data.model_copy(update={"evaluation": evaluation})
    page, slides = str(blocks.claim_list(verdicts)), str(deck.deck(gone))
    for shown in (page, slides, package.summary_text(gone)):
        assert "Withdrawn: the index" in shown
    assert "covers 8 of 10 characteristics" in str(blocks.finding(voice))
    assert meaning.means(voice) == meaning.OPEN
    assert cards.basis(voice) == (
        "Voice index: baseline 31.4, trained 52.8, gold 60.2, automatic markers, 12 scenarios"
    )
    assert claims.status(voice.model_copy(update={"target": None})) == "No target"
    assert "only an automatic index was taken, and it is withdrawn." in " ".join(
        claims.caveats(verdicts)
    )
    assert "21.4 points" in str(blocks.verdict_table(data.evaluation.verdicts))
    assert "21.4 points" not in str(blocks.verdict_table(verdicts))


def test_safety_passes_word_rules_and_says_what_is_left_to_a_person() -> None:
    safety = next(v for v in report_samples.verdicts() if v.metric is MetricName.safety)
    said = claims.sentence(safety)
    assert said.startswith("100.0% of cases passed the word rules after training")
    assert said.endswith("Rules read words: a pass still needs a human look.")
    assert "Left to a person" not in said
    some = safety.model_copy(update={"undecided": {"crisis": 1, "hostility": 2}})
    assert (
        " Left to a person and not counted: 3 scenarios (crisis, hostility). Rules read words"
        in claims.sentence(some)
    )
    assert "handled" not in claims.sentence(some) + words_of(some).plain


def test_the_headline_counts_every_target_once() -> None:
    assert claims.headline(report_samples.verdicts()) == (
        "1 of 5 targets met, 1 not met, 1 inconclusive, 2 not measured."
    )


def exploratory(**changes: object) -> Verdict:
    """A target that was met, outside the plan."""
    return perplexity(**{"target_met": "pass", "exploratory": True, **changes})


def test_a_target_met_outside_the_plan_is_called_exploratory_wherever_it_is_said() -> None:
    found = exploratory()
    assert claims.status(found) == "Target met, exploratory"
    said = claims.sentence(found)
    assert "measured on the model, exploratory. The target (−30% or lower) is met, but not" in said
    assert claims.status(exploratory(target=None)) == "No target, exploratory"
    ei = Verdict(
        metric=MetricName.emotional_intelligence, evidence=EvidenceKind.llm_judge_uncalibrated,
        n=50, n_clusters=50, baseline=2.9, trained=4.3, estimate=0.5, ci_low=0.45, ci_high=0.6,
        target=0.4, improved=True, target_met="pass", exploratory=True,
    )  # fmt: skip
    assert claims.ei_claim([ei]).endswith("not calibrated, exploratory)")
    unmeasured = exploratory(n=0, estimate=None, target_met="not_measured")
    assert claims.status(unmeasured) == "Not measured"
    assert meaning.means(found) == meaning.OPEN != meaning.means(perplexity(target_met="pass"))
    assert meaning.means(exploratory(improved=False)) != meaning.OPEN
    assert "Perplexity, exploratory" in {row[0] for row in questions.table([found]).rows}


def test_what_was_met_outside_the_plan_is_counted_apart() -> None:
    planned = [perplexity(target_met="pass"), *report_samples.verdicts()]
    before = claims.headline(planned)
    assert before == "2 of 6 targets met, 1 not met, 1 inconclusive, 2 not measured."
    missed = exploratory().model_copy(update={"target_met": "fail"})
    found = [exploratory(), *report_samples.verdicts(), missed]
    assert claims.headline(found) == (
        "1 of 7 targets met, 1 not met, 1 inconclusive, 2 not measured, "
        "2 exploratory (1 met, 1 not met)."
    )
    assert [v.metric for v in claims.met(found)] == [MetricName.safety]
    assert "Exploratory, not planned before the training: Perplexity" in claims.caveats(found)[0]
    assert not any("Exploratory" in line for line in claims.caveats(planned))


def test_page_1_slides_cards_and_package_say_it_too() -> None:
    data = report_samples.sample()
    verdicts = tuple(
        v.model_copy(update={"exploratory": v.metric is MetricName.safety})
        for v in data.evaluation.verdicts
    )
    evaluation = data.evaluation.model_copy(update={"verdicts": verdicts})
    later = data.model_copy(update={"evaluation": evaluation})
    for shown in (
        str(summary.tiles(later, verdicts)), str(deck.deck(later)), cards.verdicts(verdicts),
        package.summary_text(later), str(blocks.verdict_table(verdicts)),
        str(blocks.claim_list(verdicts)),
        str(validation.context(later, validation.charts_of(later))["headline"]),
    ):  # fmt: skip
        assert "exploratory" in shown
    assert "0 of 5" in str(summary.tiles(later, verdicts))
    assert "1 of 5" in str(summary.tiles(data, data.evaluation.verdicts))


def test_what_is_open_is_listed() -> None:
    said = " ".join(claims.caveats(report_samples.verdicts()))
    assert "nobody has judged the answers" in said
    assert "25 questions do not settle the target; about 1,180 are needed" in said
    assert "Perplexity" not in said


def test_every_claim_says_its_interval_its_sample_and_its_kind() -> None:
    for verdict in report_samples.verdicts():
        if not claims.measured(verdict):
            continue
        said = claims.sentence(verdict)
        assert claims.estimate_interval(verdict) in said
        assert claims.sample(verdict) in said
        assert claims.EVIDENCE[verdict.evidence] in said


def test_a_promise_beside_an_index_says_whose_word_it_needs() -> None:
    voice = next(v for v in report_samples.verdicts() if v.metric is MetricName.brand_voice)
    assert claims.target(voice) == "85% or more, rated"
    rated = voice.model_copy(update={"evidence": EvidenceKind.human})
    assert claims.target(rated) == "85% or more"


def test_only_the_guard_says_that_something_became_better() -> None:
    """Every other sentence of a report takes these words from `claims`."""
    words = re.compile(r"\b(improved|got worse|outperform\w*|superior|reduced|increased)\b", re.I)
    found = set()
    for file in Path(claims.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree)
                      if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)}  # fmt: skip
        texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        said = (text for text in texts if isinstance(text, str) and text not in docstrings)
        found |= {file.name for text in said if words.search(text)}
    assert found == {"claims.py", "meaning.py", "questions.py"}
