"""Knowledge retention from option log-probabilities, averaged over rotations by content option.

Per rotation the four letters' log-probabilities are normalised among themselves (what lies outside
the letters says nothing about knowledge), then averaged over the rotations for each option: a
liking for a letter cancels. The answer is the option with the highest mean; k equal ones share
the point (1/k each). Retained share = accuracy trained / baseline, paired over questions, with
Nam and Blackwelder's score interval; non-inferior when the whole interval lies at or above the
target. Beside it: McNemar's exact test, and the mean change of the right option's log-probability,
which is far more sensitive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brightrun.verdicts import EvidenceKind, MetricName, Table, Verdict
from evals import statistics
from evals.measurements import Knowledge
from evals.sources import Question

CHANCE = 0.25
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Choice:
    """How a model answered one question. credit 0-1; gold = mean log-probability, nats; chosen:
    among equal options one that is not right."""

    chosen: int
    credit: float
    gold: float


def choose(rows: Sequence[Knowledge], answer: int) -> Choice:
    """Average the rotations of one question and model; `answer` = index of the right option."""
    scores = np.zeros(4)
    for row in rows:
        values: NDArray[np.float64] = np.asarray(row.logprobs)
        normalised = values - values.max()
        normalised = normalised - np.log(np.exp(normalised).sum())
        scores[list(row.order)] += normalised / len(rows)
    best = np.flatnonzero(scores >= scores.max() - _TIE)
    credit = 1 / len(best) if answer in best else 0.0
    # Among equals, the wrong one: that is what may be said.
    chosen = next((int(option) for option in best if option != answer), answer)
    return Choice(chosen, credit, float(scores[answer]))


@dataclass(frozen=True, slots=True)
class Answered:
    """One question answered by both models."""

    question: Question
    baseline: Choice
    trained: Choice

    @property
    def lost(self) -> bool:
        return self.baseline.credit > self.trained.credit


def answered(
    questions: Sequence[Question],
    knowledge: Mapping[tuple[str, str, int], Knowledge],
    rotations: int,
) -> tuple[Answered, ...]:
    """Both models' choices, in plan order."""

    def choice(model: str, question: Question) -> Choice:
        rows = [knowledge[model, question.question_id, r] for r in range(rotations)]
        return choose(rows, question.answer)

    return tuple(Answered(q, choice("baseline", q), choice("trained", q)) for q in questions)


@dataclass(frozen=True, slots=True)
class Counts:
    """Pairs of outcomes; a tie counts as the expected outcome of a guess among the equals."""

    n: int
    both: float
    gained: float
    lost: float

    @property
    def baseline(self) -> float:
        return (self.both + self.lost) / self.n

    @property
    def trained(self) -> float:
        return (self.both + self.gained) / self.n


def counts(items: Sequence[Answered]) -> Counts:
    """Right in both, only trained, only baseline."""
    pairs = [(item.baseline.credit, item.trained.credit) for item in items]
    return Counts(
        n=len(pairs),
        both=sum(b * t for b, t in pairs),
        gained=sum((1 - b) * t for b, t in pairs),
        lost=sum(b * (1 - t) for b, t in pairs),
    )


def score(
    items: Sequence[Answered], *, target: float, rotations: int
) -> tuple[Verdict, Table, Table, dict[str, Any]]:
    """Verdict over the headline questions, the table by topic, the lost questions, the facts."""
    headline = [item for item in items if item.question.counts]
    margin = (
        statistics.paired_difference(
            [i.baseline.gold for i in headline], [i.trained.gold for i in headline]
        )
        if headline
        else None
    )
    found = counts(headline) if headline else Counts(0, 0, 0, 0)
    verdict = _verdict(headline, found, margin, target, rotations)
    lost, gained = round(found.lost), round(found.gained)
    facts = {
        "headline_questions": len(headline),
        "outside_headline": len(items) - len(headline),
        "rotations": rotations,
        "lost": lost,
        "gained": gained,
        "mcnemar_p": statistics.mcnemar_exact(lost, gained),
        "gold_logprob_change": margin.estimate if margin else None,
        "gold_logprob_change_ci": [margin.low, margin.high] if margin else None,
        "baseline_accuracy_ci": list(statistics.wilson(found.both + found.lost, found.n)),
        "trained_accuracy_ci": list(statistics.wilson(found.both + found.gained, found.n)),
    }
    return verdict, _table(items), _lost(items), facts


def _verdict(
    headline: Sequence[Answered],
    found: Counts,
    margin: statistics.Interval | None,
    target: float,
    rotations: int,
) -> Verdict:
    n = len(headline)
    fixed: dict[str, Any] = {
        "metric": MetricName.knowledge_retention,
        "evidence": EvidenceKind.measurement,
        "n": n,
        "n_clusters": n,
        "target": target,
    }
    if n == 0:
        return Verdict(**fixed, note="No question belongs to the headline.")
    fixed |= {"baseline": found.baseline, "trained": found.trained}
    if found.both + found.lost <= 0:
        return Verdict(
            **fixed,
            target_met="inconclusive",
            note="The baseline answered no question: there is nothing that could be retained.",
        )
    share = statistics.retained_share(found.both, found.gained, found.lost, n)
    low, high = statistics.wilson(found.both + found.lost, n)
    met = statistics.decide(share, target, "higher")
    notes = ["95 % CI: score interval of the paired ratio; non-inferior when all of it is >= "
             f"{target:.0%}.".replace("%.", " %."), _beside(found, margin)]  # fmt: skip
    if low <= CHANCE:
        met = "inconclusive"
        fixed["proves_nothing"] = (
            f"The baseline is not above chance (95 % CI {100 * low:.0f}-{100 * high:.0f} % "
            "includes 25 % or lies below): retention of near-chance knowledge proves nothing."
        )
    identical = all(item.baseline == item.trained for item in headline)
    if identical:
        met = "inconclusive"
        notes.append(
            "Baseline and trained gave the same log-probabilities to the last digit: the adapter "
            "changed nothing, or was not active."
        )
    if rotations < 4:
        notes.append(
            f"{rotations} of 4 option orders asked: a liking for a letter is not cancelled."
        )
    change = statistics.Interval(
        share.estimate - 1,
        None if share.low is None else share.low - 1,
        None if share.high is None else share.high - 1,
        share.sd,
        n,
    )
    gap = float(np.log(share.estimate / target)) if share.estimate > 0 else 0.0
    return Verdict(
        **fixed,
        estimate=share.estimate,
        ci_low=share.low,
        ci_high=share.high,
        improved=None if low <= CHANCE else statistics.improved(change, "higher"),
        p_value=statistics.mcnemar_exact(round(found.lost), round(found.gained)),
        target_met=met,
        n_needed=statistics.n_needed(share.sd, gap)
        if met == "inconclusive" and low > CHANCE and not identical
        else None,
        note=" ".join(notes),
    )


def _beside(found: Counts, margin: statistics.Interval | None) -> str:
    """Both accuracies with their intervals, McNemar's test and the margin in nats."""
    sides = (("before", found.baseline), ("after", found.trained))
    shares = []
    for name, share in sides:
        low, high = (100 * x for x in statistics.wilson(share * found.n, found.n))
        shares.append(f"{100 * share:.0f} % right {name} (95 % CI {low:.0f}-{high:.0f} %)")
    lost, gained = round(found.lost), round(found.gained)
    parts = [
        f"{', '.join(shares)}, {found.n} questions.",
        f"McNemar's exact p = {statistics.mcnemar_exact(lost, gained):.3f} "
        f"({lost} lost, {gained} gained).",
    ]
    if margin is not None and margin.low is not None and margin.high is not None:
        parts.append(
            f"Log-probability of the right option: {margin.estimate:+.3f} nats "
            f"(95 % CI {margin.low:+.3f} to {margin.high:+.3f})."
        )
    return " ".join(parts)


Cells = tuple[str | int | float | bool | None, ...]


def _table(items: Sequence[Answered]) -> Table:
    headline = [item for item in items if item.question.counts]
    rest = [item for item in items if not item.question.counts]
    rows: list[Cells] = []
    if headline:
        rows.append(_row("all (headline)", headline))
    for topic in sorted({item.question.topic for item in headline}):
        rows.append(_row(topic, [item for item in headline if item.question.topic == topic]))
    if rest:
        rows.append(_row("outside the headline (yearly figures)", rest))
    return Table(
        columns=(
            "group", "questions", "baseline", "baseline_low", "baseline_high", "trained",
            "trained_low", "trained_high", "retained", "retained_low", "retained_high", "lost",
            "gained", "gold_logprob_change",
        ),
        rows=tuple(rows),
        caption="Accuracy per topic, evidence: measurement; retained = trained / baseline; 95 % "
        "score intervals over questions (of accuracies Wilson's); the last column is the mean "
        "change of the right option's log-probability in nats (among the four options).",
    )  # fmt: skip


def _row(name: str, items: Sequence[Answered]) -> Cells:
    found = counts(items)
    change = float(np.mean([item.trained.gold - item.baseline.gold for item in items]))
    kept: Cells = (None, None, None)
    if found.both + found.lost > 0:
        share = statistics.retained_share(found.both, found.gained, found.lost, found.n)
        kept = share.estimate, share.low, share.high
    return (
        name,
        found.n,
        found.baseline,
        *statistics.wilson(found.both + found.lost, found.n),
        found.trained,
        *statistics.wilson(found.both + found.gained, found.n),
        *kept,
        round(found.lost),
        round(found.gained),
        change,
    )


def _lost(items: Sequence[Answered]) -> Table:
    rows: list[Cells] = [
        (
            item.question.question_id,
            item.question.topic,
            item.question.question,
            item.question.options[item.question.answer],
            item.question.options[item.trained.chosen],
            item.question.counts,
        )
        for item in items
        if item.lost
    ]
    return Table(
        columns=("question_id", "topic", "question", "right", "chosen", "headline"),
        rows=tuple(rows),
        caption="Questions that the baseline had right and the trained model has not.",
    )
