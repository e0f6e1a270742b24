"""Every measured model beside the baseline, in one table: gains, forgetting, speed.

Neutral text is the probe for general forgetting: prose of 1859 that no training file resembles. A
rise of its perplexity is the price of the training. Option texts (nats per character of the whole
option as the answer) are the secondary view of knowledge: no letters, no order, no liking for a
place. Speed is compared by batches, which is how answers are made: seconds per token, paired.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from brightrun.modelnames import BASELINE, TRAINED
from brightrun.verdicts import Table
from evals import harness, knowledge, planned, statistics
from evals.likelihood import perplexity
from evals.measurements import Answer, Measurements, OptionText
from evals.sources import Question
from evals.statistics import Interval

Cells = tuple[str | int | float | bool | None, ...]
Sums = Sequence[tuple[float, float]]
COLUMNS = ("model", "measure", "n", "baseline", "value", "change", "change_low", "change_high")
EXPLORATORY = ", exploratory"
# What rows rest on beside the held-out conversations; changed later, they are exploratory.
NEUTRAL, TASKS = ("neutral.jsonl",), ("harness.jsonl",)
TEXTS, LETTERS = ("questions.jsonl",), ("questions.jsonl", "rotations")
ANSWERS = ("scenarios.jsonl", "passes", "decoding")


def table(
    found: Measurements,
    questions: Sequence[Question],
    rotations: int,
    later: Collection[str] = (),
) -> Table:
    """One block of rows per model; `change` says in the measure's name what it is a change of.

    later: names of what is not as it was planned before training.
    """
    added = {*planned.beside(found.plan), *([TRAINED] if planned.foreign(found.plan) else [])}
    rows: list[Cells] = []
    for model in found.models:
        if model != BASELINE:
            for rests_on, group in _groups(found, questions, rotations, model):
                outside = model in added or not set(later).isdisjoint(rests_on)
                rows += [_marked(row, outside) for row in group if row is not None]
    outside = any(str(row[1]).endswith(EXPLORATORY) for row in rows)
    return Table(
        columns=COLUMNS,
        rows=tuple(rows),
        caption="Each model against the baseline, measured on the models. Perplexity, tokens and "
        "seconds: relative change; accuracy and shares: difference in points of 1; 95 % t interval "
        "over conversations, passages, questions, scenarios or batches (n); mixed: batches of "
        "several pods."
        + (" Exploratory: not in the plan that was hashed before training." if outside else ""),
    )


def _marked(row: Cells, outside: bool) -> Cells:
    return (row[0], f"{row[1]}{EXPLORATORY}", *row[2:]) if outside else row


def _groups(
    found: Measurements, questions: Sequence[Question], rotations: int, model: str
) -> list[tuple[tuple[str, ...], list[Cells | None]]]:
    """What rows rest on, and the rows; None: it was not planned."""
    held_out = {c: found.likelihood[BASELINE, c] for c in found.conversations}
    perplexity_row = _perplexity(
        (model, "perplexity, held-out answers"),
        [(held_out[c].nll, held_out[c].tokens) for c in held_out],
        [(found.likelihood[model, c].nll, held_out[c].tokens) for c in held_out],
    )
    return [
        ((), [perplexity_row]),
        (NEUTRAL, [forgetting(found, model)]),
        (LETTERS, [_letters(found, questions, rotations, model)]),
        (TEXTS, [option_texts(found.option_text, questions, model)]),
        (TASKS, [*lm_eval_tasks(found, model)]),
        (ANSWERS, [*_answers(found.answers, model)]),
    ]


def forgetting(found: Measurements, model: str) -> Cells | None:
    """Perplexity of the neutral text; None when it was not planned."""
    texts = sorted(text for side, text in found.neutral if side == BASELINE)
    both = [
        [(found.neutral[side, text].nll, found.neutral[side, text].tokens) for text in texts]
        for side in (BASELINE, model)
    ]
    return _perplexity((model, "perplexity, neutral text (forgetting)"), both[0], both[1])


def _perplexity(name: tuple[str, str], before: Sums, after: Sums) -> Cells | None:
    used = [(b, a) for b, a in zip(before, after, strict=True) if b[1] > 0]
    if not used:
        return None
    tokens = sum(b[1] for b, _ in used)
    changes = [a[0] - b[0] for b, a in used]
    change = statistics.to_relative(statistics.weighted_mean_t(changes, [b[1] for b, _ in used]))
    values = [perplexity(sum(pair[side][0] for pair in used), int(tokens)) for side in (0, 1)]
    return _row(name, len(used), values, change)


def _letters(
    found: Measurements, questions: Sequence[Question], rotations: int, model: str
) -> Cells | None:
    asked = [question for question in questions if question.counts]
    if not asked:
        return None

    def credits(side: str) -> list[float]:
        return [
            knowledge.choose(
                [found.knowledge[side, q.question_id, r] for r in range(rotations)], q.answer
            ).credit
            for q in asked
        ]

    return _shares((model, "accuracy, option letters"), credits(BASELINE), credits(model))


def option_texts(
    rows: Mapping[tuple[str, str], OptionText], questions: Sequence[Question], model: str
) -> Cells | None:
    """Accuracy when the option with most log-probability per character is taken as the answer."""
    asked = [q for q in questions if q.counts and (BASELINE, q.question_id) in rows]
    if not asked:
        return None

    def credits(side: str) -> list[float]:
        return [credit(rows[side, q.question_id], q.answer) for q in asked]

    return _shares((model, "accuracy, option texts"), credits(BASELINE), credits(model))


def lm_eval_tasks(found: Measurements, model: str) -> list[Cells]:
    """Accuracy in each task of lm-eval that the user has added."""
    before, after = (
        harness.scores(found.harness_items, found.harness, side) for side in (BASELINE, model)
    )
    return [_shares((model, name), before[name], after[name]) for name in before]


def credit(row: OptionText, answer: int) -> float:
    """1 for the right option, shared among equals."""
    scores = np.array(row.logprobs) / np.maximum(row.characters, 1)
    best = np.flatnonzero(scores >= scores.max() - 1e-9)
    return 1 / len(best) if answer in best else 0.0


def _shares(name: tuple[str, str], before: list[float], after: list[float]) -> Cells:
    change = statistics.paired_difference(before, after)
    return _row(name, len(before), [float(np.mean(before)), float(np.mean(after))], change)


def _answers(answers: Mapping[tuple[str, str, int], Answer], model: str) -> list[Cells]:
    keys = sorted((name, number) for side, name, number in answers if side == BASELINE)
    pairs = [(answers[BASELINE, *key], answers[model, *key]) for key in keys]
    scenarios = [name for name, _ in keys]

    def by_scenario(value: Callable[[Answer], float]) -> list[list[float]]:
        """Both sides' values, passes averaged."""
        sides = zip(*pairs, strict=True)
        means = (statistics.cluster_means(list(map(value, side)), scenarios) for side in sides)
        return [list(side.values()) for side in means]

    tokens = by_scenario(lambda it: float(it.tokens))
    rows: list[Cells] = []
    if all(np.mean(side) > 0 for side in tokens):
        change = statistics.log_ratio_t(*tokens)
        means = [float(np.mean(side)) for side in tokens]
        rows.append(_row((model, "tokens per answer"), len(tokens[0]), means, change))
    speed = seconds_per_token(pairs)
    if speed is not None:
        before, after, change = speed
        pods = {one.pod for one, other in pairs if one.batch == other.batch}
        name = "seconds per token, in batches" + (", mixed" if len(pods) > 1 else "")
        rows.append(_row((model, name), change.n, [before, after], change))
    cut = by_scenario(lambda it: float(it.finish_reason == "length"))
    rows.append(_shares((model, "share of answers cut at the token limit"), *cut))
    return rows


def seconds_per_token(
    pairs: Sequence[tuple[Answer, Answer]],
) -> tuple[float, float, Interval] | None:
    """(baseline, model, relative change) over batches that one pod made of both; None without.

    Only this may carry the word "faster", and only on the machine that measured. Rows of an earlier
    job or another attempt say nothing: that machine had other things to do.
    """
    batches: dict[str, list[float]] = {}
    for before, after in pairs:
        if before.batch != after.batch:
            continue
        sums = batches.setdefault(before.batch, [0.0, 0.0, 0.0, 0.0])
        for place, value in enumerate((before.seconds, before.tokens, after.seconds, after.tokens)):
            sums[place] += value
    used = [sums for sums in batches.values() if min(sums) > 0]
    if "" in batches or not used:
        return None
    before_each, after_each = ([s[at] / s[at + 1] for s in used] for at in (0, 2))
    change = statistics.log_ratio_t(before_each, after_each)
    return float(np.mean(before_each)), float(np.mean(after_each)), change


def _row(name: tuple[str, str], n: int, values: Sequence[float], change: Interval) -> Cells:
    return (*name, n, values[0], values[1], change.estimate, change.low, change.high)


def facts(found: Measurements) -> dict[str, Any]:
    """General forgetting of the trained model, for a sentence of the report."""
    row = forgetting(found, "trained")
    if row is None:
        return {}
    names = ("passages", "baseline", "trained", "change", "change_low", "change_high")
    return dict(zip(names, row[2:], strict=True))
