"""Numbers behind the verdicts are sentences, nothing is lost, and no template types a number."""

from __future__ import annotations

import re
from pathlib import Path

import report_samples

from reports import numbers, validation

FACTS = {
    "n": {"scenarios": 12, "safety_scenarios": 4, "questions": 25, "rotations": 1, "passes": 1,
          "headline_questions": 25, "option_texts": 0},
    "asked": {"scenarios": 12, "questions": 25},
    "knowledge": {"lost": 1, "gained": 0, "mcnemar_p": 1.0, "baseline_accuracy_ci": [0.129, 0.455],
                  "trained_accuracy_ci": [0.102, 0.413], "gold_logprob_change": 0.0118,
                  "gold_logprob_change_ci": [-0.0615, 0.0851], "outside_headline": 0},
    "safety": {"sadness_not_crisis": {"items": 2, "baseline_passed": 1, "trained_passed": 2,
                                      "baseline_needs_review": 0, "trained_needs_review": 1}},
    "sources": {"voice.json": {"version": "", "sha256": "6" * 64}},
    "identical": False,
}  # fmt: skip


def test_facts_are_sentences_in_a_fixed_order() -> None:
    assert numbers.rows(FACTS) == [
        ("Asked", "12 scenarios, 4 of them about safety; 25 questions in 1 of 4 option orders; "
         "questions that count: 25; answers to each scenario: 1"),
        ("Knowledge", "1 lost, 0 gained (McNemar p 1.000); right answers 12.9% to 45.5% before, "
         "10.2% to 41.3% after; log-probability of the right option +0.01 (−0.06 to +0.09)"),
        ("Safety rules: sadness not crisis",
         "2 asked; passed 1 before, 2 after; left to a person 0 and 1"),
        ("Items and word lists (sha256)", "voice.json 666666666666"),
    ]  # fmt: skip


def test_what_no_sentence_knows_is_still_shown() -> None:
    facts = {
        "knowledge": {"lost": 3, "gained": 2, "brand_new": {"half_life": 0.25}},
        "n": {"scenarios": 12, "moons": 7},
        "asked": {"scenarios": 14},
        "invented": {"a_part": [1, 2]},
    }
    assert dict(numbers.rows(facts)) == {
        "Asked": "scenarios 12, moons 7",
        "Wished for": "scenarios 14",
        "Knowledge": "lost 3, gained 2, brand new (half life 0.25)",
        "Invented": "a part 1, 2",
    }


def test_every_number_of_the_sample_is_told() -> None:
    shown = " ".join(text for _, text in numbers.rows(report_samples.evaluation().facts))
    for number in ("12", "25", "42", "96", "3", "2", "0.31", "0.67", "5"):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", shown), number


def test_values_of_another_kind_are_shown_as_they_are() -> None:
    facts = {"answers": "none", "sources": ["a"], "n": {"scenarios": "x", "safety_scenarios": [1]},
             "safety": {"crisis": {"items": "?"}}}  # fmt: skip
    assert dict(numbers.rows(facts)) == {
        "Answers": "none",
        "Items and word lists (sha256)": "a",
        "Asked": "x scenarios, 1 of them about safety",
        "Safety rules: crisis": "? asked",
    }


def test_a_voice_characteristic_that_went_away_is_flagged() -> None:
    assert validation.voice_flag(0.68, 0.0, 0.46) == "absent after training"
    assert validation.voice_flag(0.0, 0.0, 0.1) == "absent"
    assert validation.voice_flag(0.3, 0.6, 0.35) == "further from gold"
    assert validation.voice_flag(0.12, 0.55, 0.6) == ""
    assert validation.voice_flag(0.5, 0.4, None) == "less than before"
    assert validation.voice_flag(None, 0.4, 0.5) == ""
    parts = {"asks_permission": {"baseline": 0.5, "trained": 0.0, "gold": 0.6}}
    evaluation = report_samples.evaluation().model_copy(update={"facts": {"voice_parts": parts}})
    data = report_samples.sample(evaluation=evaluation)
    shown = validation.context(data, dict.fromkeys(validation.charts_of(data)))["voice_table"]
    assert "absent after training" in shown
    gone = {"voice_parts": parts, "withdrawn_markers": ["voice_index"]}
    data = report_samples.sample(evaluation=evaluation.model_copy(update={"facts": gone}))
    shown = validation.context(data, dict.fromkeys(validation.charts_of(data)))["voice_table"]
    assert "absent after training" not in shown
    assert "The index is withdrawn: no change is shown." in shown


DIGITS = re.compile(
    r"\d|\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|twenty|"
    r"half|double|twice|percent)\b",
    re.I,
)
# The level of every interval, a crisis line's name, and the heading of two questions.
RULES = ("95% interval", "988 line", "are two questions", "whole 95% interval")


def test_no_number_is_typed_into_a_template() -> None:
    """What has a number in it comes from data: a template holds names, rules and placeholders."""
    templates = sorted((Path(validation.__file__).parent).glob("*.qmd"))
    assert len(templates) >= 5
    for template in templates:
        body = template.read_text(encoding="utf-8").split("---", 2)[2]
        body = re.sub(r"\{\{.*?\}\}|\{#[a-z-]+\}", "", body)
        for rule in RULES:
            body = body.replace(rule, "")
        assert DIGITS.search(body) is None, (template.name, DIGITS.search(body))
