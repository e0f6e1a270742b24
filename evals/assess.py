"""From raw measurements to the Evaluation: one Verdict per claim. Repeatable, without a GPU.

The same run folder gives the same bytes: everything is read in plan order and drawn by seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brightrun.errors import EvaluationError
from brightrun.jobs import JobSpec
from brightrun.modelnames import BASELINE, MODELS, TRAINED
from brightrun.runfolder import RunFolder
from brightrun.verdicts import Evaluation, EvidenceKind, MetricName, Verdict
from evals import answers as answering
from evals import (
    choices,
    comparing,
    contamination,
    examples,
    feedback,
    gates,
    headlines,
    honesty,
    knowledge,
    likelihood,
    measurements,
    own,
)
from evals.examples import Scored
from evals.gold import FLOORS
from evals.heard import Voices, heard_of, judge_by, judged_facts, tables_of, unheard
from evals.markers import LABELS
from evals.measurements import GoldAnswer, Measurements
from evals.plan import QUESTIONS, SCENARIOS, passes
from evals.planned import beside, changed, foreign, stamped
from evals.sources import (
    DATA,
    Lexicons,
    Question,
    Scenario,
    load_lexicons,
)

MOST_GOLD = 2000


def assess(folder: RunFolder, spec: JobSpec, *, data: Path = DATA) -> Evaluation:
    """Score a measured job. EvaluationError when something is missing or contradicts the plan."""
    known = own.of_folder(folder, data)
    scenarios = _planned_scenarios(folder, known.scenarios)
    questions = _planned_questions(folder, known.questions)
    found = measurements.load(folder, spec, scenarios, questions)
    found = choices.added(found, folder, known.harness)
    heard = heard_of(folder, data)
    result = evaluate(
        found,
        scenarios,
        questions,
        load_lexicons(data),
        known.versions(data),
        heard,
        honesty.load_rewrites(data),
    )
    if result.foreign:  # the folder's training file is another adapter's
        return result
    pairs = [(found.likelihood[BASELINE, c], found.likelihood[TRAINED, c])
             for c in found.conversations]  # fmt: skip
    advice, advice_facts = feedback.of_folder(folder, pairs)
    close = None
    if folder.exists(contamination.PLACE):
        close = contamination.table(folder.read_json(contamination.PLACE))
    return result.model_copy(
        update={
            "contamination": close,
            "data_feedback": advice,
            "facts": {**result.facts, "data_feedback": advice_facts},
        }
    )


def evaluate(
    found: Measurements,
    scenarios: Sequence[Scenario],
    questions: Sequence[Question],
    lexicons: Lexicons,
    sources: dict[str, dict[str, str]],
    heard: Voices | None = None,
    rewrites: Sequence[tuple[str, str]] = (),
) -> Evaluation:
    """The pure part of assess()."""
    plan = found.plan
    targets: dict[str, float] = plan["targets"]
    n, seeds = plan["n"], plan["seeds"]
    perplexity, perplexity_table, perplexity_facts = likelihood.score(
        [(found.likelihood["baseline", c], found.likelihood["trained", c])
         for c in found.conversations],
        target=targets["perplexity"],
        seed=seeds["bootstrap"],
    )  # fmt: skip
    retention, knowledge_table, lost, knowledge_facts = knowledge.score(
        knowledge.answered(questions, found.knowledge, n["rotations"]),
        target=targets["knowledge_retention"],
        rotations=n["rotations"],
    )
    keys = [(s.scenario_id, number) for s in scenarios for number in passes(plan)]
    gold = thinned(found.gold)
    read = answering.read_all(keys, found.answers, gold, lexicons)
    trust = honesty.trust(read.gold, rewrites, lexicons)
    gone = [name for name in trust.auc if trust.withdrawn(name)] if trust else None
    answered = answering.facts(read, found.answers, MODELS)
    items = gates.items(scenarios, found.answers, lexicons, passes(plan))
    safety, safety_table, safety_facts = gates.score(items, target=targets["safety"])
    later = changed(plan, sources)
    by_judges = judge_by(heard, found, scenarios, items) if heard else None
    verdicts = (
        perplexity,
        by_judges.ei
        if by_judges
        else emotional_intelligence(targets["emotional_intelligence"], unheard(heard)),
        retention,
        (by_judges and by_judges.voice)
        or honesty.judged_by(
            answering.brand_voice(read, targets["brand_voice"]), honesty.VOICE, trust
        ),
        safety,
        honesty.judged_by(answering.marker_index(read), honesty.DISTANCE, trust),
    )
    return Evaluation(
        verdicts=headlines.settle(
            [stamped(verdict, later, plan) for verdict in verdicts], plan.get("floors", {})
        ),
        **(tables_of(by_judges) if by_judges else {}),
        perplexity=perplexity_table,
        knowledge=knowledge_table,
        lost_questions=lost,
        markers=honesty.marked(answering.table(read), trust),
        safety=safety_table,
        comparison=comparing.table(found, questions, n["rotations"], later),
        examples=examples.build(
            scenarios,
            _sides(found, read, items),
            _spread(read),
            seed=seeds["examples"],
            lexicons=lexicons,
            withdrawn=gone or (),
        ),
        facts={
            "n": n,
            "asked": plan["asked"],
            "seeds": seeds,
            "decoding": plan["decoding"],
            "statistics": plan["statistics"],
            "sources": sources,
            "exploratory": [*sorted(later), *(f"model {name}" for name in beside(plan))],
            "foreign_adapter": foreign(plan),
            "other_models": list(found.models[len(MODELS) :]),
            "models": list(found.models),
            "forgetting": comparing.facts(found),
            "perplexity": perplexity_facts,
            "knowledge": knowledge_facts,
            "safety": safety_facts,
            "examples_rule": examples.rule(gone or ()),
            "held_out_answers": len(found.gold),
            "withdrawn_markers": gone,
            **judged_facts(heard, by_judges),
            **answered,
            "voice_parts": honesty.without_change(answered["voice_parts"], trust),
        },
    )


def thinned(gold: tuple[GoldAnswer, ...]) -> tuple[GoldAnswer, ...]:
    """At most MOST_GOLD answers, evenly spaced: more add time, not precision."""
    step = -(-len(gold) // MOST_GOLD) or 1
    return gold[::step]


def emotional_intelligence(target: float, more: str = "") -> Verdict:
    """The claim that only people or a judge can settle: not measured without them."""
    return Verdict(
        metric=MetricName.emotional_intelligence,
        evidence=EvidenceKind.human,
        n=0,
        n_clusters=0,
        target=target,
        target_met="not_measured",
        note=f"No human ratings and no LLM judge in this run. {more}".strip(),
    )


def _planned_scenarios(folder: RunFolder, rows: Sequence[Scenario]) -> tuple[Scenario, ...]:
    known = {s.scenario_id: s for s in rows}
    return tuple(
        known[name]
        for name in _known(measurements.planned(folder, SCENARIOS, "scenario_id"), known)
    )


def _planned_questions(folder: RunFolder, rows: Sequence[Question]) -> tuple[Question, ...]:
    known = {q.question_id: q for q in rows}
    return tuple(
        known[name]
        for name in _known(measurements.planned(folder, QUESTIONS, "question_id"), known)
    )


def _known(names: list[str], known: dict[str, Any]) -> list[str]:
    if not names:
        raise EvaluationError("the run folder holds no plan", fix="resume the job")
    absent = [name for name in names if name not in known]
    if absent:
        raise EvaluationError(
            f"{', '.join(absent[:5])} of the plan are not in evals/data any more",
            fix="assess with the version of evals/data that plan.json names under `sources`",
        )
    return names


def _sides(
    found: Measurements, read: answering.Answers, items: Sequence[gates.Item]
) -> dict[str, examples.Sides]:
    rulings = {
        item.scenario.scenario_id: item for item in items if item.number == examples.SHOWN_PASS
    }
    sides: dict[str, examples.Sides] = {}
    for position, (name, number) in enumerate(read.keys):
        if number != examples.SHOWN_PASS:
            continue
        item = rulings.get(name)
        both = []
        for model, reads in (("baseline", read.baseline), ("trained", read.trained)):
            raw = found.answers[model, name, examples.SHOWN_PASS]
            ruling = None if item is None else getattr(item, model)
            it = reads[position]
            cut = raw.finish_reason == "length"
            both.append(Scored(raw.text, it.markers, it.voice.index, cut, ruling))
        sides[name] = (both[0], both[1])
    return sides


def _spread(read: answering.Answers) -> dict[str, float]:
    """Standard deviation of each marker over all answers: the unit of the examples' notes."""
    every = (*read.baseline, *read.trained)
    return {
        name: max(float(np.std([item.markers[name] for item in every])), FLOORS[name])
        for name in LABELS
    }
