"""Knowledge retention: rotations, ties, chance and losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evals import statistics
from evals.knowledge import answered, choose, counts, score
from evals.measurements import Knowledge
from evals.sources import Question

Model = Callable[[Question, list[int]], list[float]]
QUESTIONS = [
    Question(
        question_id=f"Q{i}",
        topic=("tax", "retirement")[i % 2],
        question=f"{i}?",
        options=("a", "b", "c", "d"),
        answer=i % 4,
        year=2024 if i >= 100 else None,
        headline=i < 100,
    )
    for i in range(104)
]


def oracle(question: Question, order: list[int]) -> list[float]:
    return [-0.1 if content == question.answer else -6.0 for content in order]


def always_a(question: Question, order: list[int]) -> list[float]:
    return [-0.01, -7.0, -7.0, -7.0]


def leaning_oracle(question: Question, order: list[int]) -> list[float]:
    """Knows the answer, but likes the letter A more."""
    known = [2.0 if content == question.answer else 0.0 for content in order]
    return [known[0] + 3.0, *known[1:]]


def asked(baseline: Model, trained: Model, rotations: int = 4) -> dict[tuple, Knowledge]:
    rows = {}
    for question in QUESTIONS:
        for rotation in range(rotations):
            order = [(rotation + position) % 4 for position in range(4)]
            for name, model in (("baseline", baseline), ("trained", trained)):
                rows[name, question.question_id, rotation] = Knowledge(
                    model=name,
                    question_id=question.question_id,
                    rotation=rotation,
                    order=tuple(order),
                    logprobs=tuple(model(question, order)),
                )
    return rows


def judged(baseline: Model, trained: Model, rotations: int = 4):
    items = answered(QUESTIONS, asked(baseline, trained, rotations), rotations)
    return score(items, target=0.95, rotations=rotations)


def test_an_oracle_has_all_and_always_a_a_quarter() -> None:
    verdict, table, _, _ = judged(oracle, always_a)
    assert (verdict.baseline, verdict.trained) == (1.0, 0.25)
    assert verdict.target_met == "fail"
    assert verdict.n == 100
    assert table.rows[0][:3] == ("all (headline)", 100, 1.0)
    whole = dict(zip(table.columns, table.rows[0], strict=True))
    right = (whole["trained"], whole["trained_low"], whole["trained_high"])
    assert right == (0.25, *statistics.wilson(25, 100))
    assert whole["baseline_low"] == statistics.wilson(100, 100)[0]
    assert "evidence: measurement" in table.caption


def test_always_a_has_a_quarter_in_one_order_too_when_keys_are_balanced() -> None:
    verdict, _, _, _ = judged(oracle, always_a, rotations=1)
    assert verdict.trained == 0.25
    assert "1 of 4 option orders" in verdict.note


def test_four_rotations_cancel_a_liking_for_a_letter() -> None:
    verdict, _, _, _ = judged(oracle, leaning_oracle)
    assert verdict.trained == 1.0
    one, _, _, _ = judged(oracle, leaning_oracle, rotations=1)
    assert one.trained == 0.25


def test_retention_from_chance_level_proves_nothing() -> None:
    verdict, _, _, _ = judged(always_a, oracle)
    assert verdict.target_met == "inconclusive"
    assert "near-chance knowledge proves nothing" in verdict.proves_nothing
    assert "proves nothing" not in verdict.note
    assert verdict.proves_nothing.startswith("The baseline is not above chance")
    assert verdict.estimate is not None
    assert verdict.estimate > 3  # oracle's answers: beyond any doubt better, and no retention
    assert verdict.improved is None
    assert judged(oracle, always_a)[0].proves_nothing == ""


def test_the_same_log_probabilities_are_no_proof_of_retention() -> None:
    verdict, _, _, facts = judged(oracle, oracle)
    assert (verdict.estimate, verdict.target_met, verdict.improved) == (1.0, "inconclusive", None)
    assert "not active" in verdict.note
    assert verdict.n_needed is None
    assert facts["gold_logprob_change"] == 0
    assert facts["mcnemar_p"] == 1.0


def test_full_retention_of_a_hundred_questions_passes_when_the_model_did_change() -> None:
    def surer(question: Question, order: list[int]) -> list[float]:
        return [-0.05 if content == question.answer else -6.0 for content in order]

    verdict, _, lost, facts = judged(oracle, surer)
    assert verdict.target_met == "pass"
    assert lost.rows == ()
    assert facts["gold_logprob_change"] > 0


def test_losses_are_counted_tested_and_listed_outside_the_headline_too() -> None:
    def forgetful(question: Question, order: list[int]) -> list[float]:
        wrong = int(question.question_id[1:]) % 10 == 3
        return [-0.1 if content == (question.answer + wrong) % 4 else -6.0 for content in order]

    verdict, table, lost, facts = judged(oracle, forgetful)
    assert verdict.estimate == pytest.approx(0.90)
    assert verdict.target_met in ("fail", "inconclusive")
    assert (facts["lost"], facts["gained"]) == (10, 0)
    for said in ("100 % right before (95 % CI 96-100 %), 90 % right after (95 % CI 83-94 %), 100 "
                 "questions.", "McNemar's exact p = 0.002 (10 lost, 0 gained)",
                 "of the right option: -0.5"):  # fmt: skip
        assert said in verdict.note
    whole = dict(zip(table.columns, table.rows[0], strict=True))
    kept = (whole["retained"], whole["retained_low"], whole["retained_high"])
    assert kept == (verdict.estimate, verdict.ci_low, verdict.ci_high)
    assert facts["mcnemar_p"] == pytest.approx(2 * 0.5**10)
    assert len(lost.rows) == 11
    assert [row[0] for row in lost.rows if row[5] is False] == ["Q103"]
    assert lost.rows[0] == ("Q3", "retirement", "3?", "d", "a", True)
    assert facts["gold_logprob_change"] < -0.5
    assert [row[0] for row in table.rows][1:3] == ["retirement", "tax"]


def test_mass_outside_the_letters_does_not_count() -> None:
    """A model that hardly writes letters at all still ranks the options."""
    row = Knowledge(
        model="m", question_id="q", rotation=0, order=(0, 1, 2, 3), logprobs=(-20, -21, -22, -23)
    )
    shifted = row.model_copy(update={"logprobs": (-1.0, -2.0, -3.0, -4.0)})
    assert choose([row], 0).gold == pytest.approx(choose([shifted], 0).gold)


def test_ties_share_the_point() -> None:
    row = Knowledge(
        model="m", question_id="q", rotation=0, order=(0, 1, 2, 3), logprobs=(-1, -1, -9, -9)
    )
    assert [choose([row], answer).credit for answer in range(4)] == [0.5, 0.5, 0, 0]
    # What was chosen is never the right one where the point is not whole.
    assert [choose([row], answer).chosen for answer in range(4)] == [1, 0, 0, 0]
    items = answered(QUESTIONS[:4], asked(always_a, always_a), 4)
    found = counts(items)
    assert found.baseline == 0.25
    assert found.both + found.lost == pytest.approx(1.0)


def test_a_baseline_that_knows_nothing_is_inconclusive() -> None:
    def never(question: Question, order: list[int]) -> list[float]:
        return [-9.0 if content == question.answer else -1.0 for content in order]

    verdict, _, _, _ = judged(never, oracle)
    assert (verdict.target_met, verdict.estimate) == ("inconclusive", None)
