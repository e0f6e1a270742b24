"""The pod's raw measurements, read and checked against the plan: all there, once, and finite."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brightrun.errors import EvaluationError
from brightrun.jobs import JobSpec
from brightrun.modelnames import MODELS
from brightrun.runfolder import RunFolder
from evals.harness import HarnessItem
from evals.plan import NEUTRAL, PLAN, QUESTIONS, SCENARIOS, passes
from evals.sources import Question, Scenario

LIKELIHOOD = "measurements/likelihood.jsonl"
KNOWLEDGE = "measurements/knowledge.jsonl"
ANSWERS = "measurements/answers.jsonl"
NEUTRAL_TEXT = "measurements/neutral.jsonl"
OPTION_TEXT = "measurements/option_text.jsonl"
VALIDATION = "data/validation.jsonl"


class Measured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
    model: str


class Likelihood(Measured):
    """Sums over one conversation, in nats; `tokens` are content tokens, `_all` with end-of-turn."""

    conversation_id: str
    arc: str = ""
    nll: float = Field(ge=0, allow_inf_nan=False)
    tokens: int = Field(ge=0)
    nll_all: float = Field(ge=0, allow_inf_nan=False)
    tokens_all: int = Field(ge=0)


class Knowledge(Measured):
    """order[p] = content index of the option at letter p; logprobs[p] = of that letter, nats."""

    question_id: str
    rotation: int = Field(ge=0)
    order: tuple[int, int, int, int]
    logprobs: tuple[float, float, float, float]


class NeutralLikelihood(Measured):
    """Sums over one neutral passage, in nats."""

    text_id: str
    nll: float = Field(ge=0, allow_inf_nan=False)
    tokens: int = Field(ge=0)


class OptionText(Measured):
    """Each option's text as the whole answer: nats (negative) and characters, by content index."""

    question_id: str
    logprobs: tuple[float, float, float, float]
    characters: tuple[int, int, int, int]


class Answer(Measured):
    """seconds: the share of this answer in those of its batch; batch: {job}/{attempt}/{name}."""

    scenario_id: str
    number: int = Field(alias="pass", ge=1)
    text: str
    tokens: int = Field(ge=0)
    finish_reason: Literal["stop", "length"]
    seconds: float = Field(ge=0, allow_inf_nan=False)
    batch: str = ""

    @property
    def pod(self) -> str:
        """{job}/{attempt} whose machine made it; "" where older rows do not say."""
        return self.batch.rpartition("/")[0]


class GoldAnswer(BaseModel):
    """A held-out answer, written by a person."""

    model_config = ConfigDict(frozen=True)
    conversation_id: str
    arc: str
    text: str


@dataclass(frozen=True, slots=True)
class Measurements:
    """Everything that scoring needs, in plan order; models: baseline, trained, then the others.

    neutral, option_text and lm-eval's choices are empty where a plan did not ask for them.
    """

    plan: dict[str, Any]
    likelihood: dict[tuple[str, str], Likelihood]
    knowledge: dict[tuple[str, str, int], Knowledge]
    answers: dict[tuple[str, str, int], Answer]
    gold: tuple[GoldAnswer, ...]
    conversations: tuple[str, ...]
    models: tuple[str, ...] = MODELS
    neutral: dict[tuple[str, str], NeutralLikelihood] = field(default_factory=dict)
    option_text: dict[tuple[str, str], OptionText] = field(default_factory=dict)
    harness_items: tuple[HarnessItem, ...] = ()
    harness: dict[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)


def load(
    folder: RunFolder,
    spec: JobSpec,
    scenarios: Iterable[Scenario],
    questions: Iterable[Question],
) -> Measurements:
    """Read and check; EvaluationError says which items are missing or contradict the plan."""
    plan = _plan(folder, spec)
    rows = folder.read_jsonl(VALIDATION)
    if not rows:
        raise EvaluationError(
            f"{folder.url}/{VALIDATION} is missing or empty: nothing was held out",
            fix="run the job's validation stage again",
        )
    # One that was split has a row for each part.
    conversations = tuple(dict.fromkeys(str(row["conversation_id"]) for row in rows))
    questions, scenarios = tuple(questions), tuple(scenarios)
    _same_questions(folder, questions)
    _same_scenarios(folder, scenarios)
    likelihood = {
        (row.model, row.conversation_id): row
        for row in measured_rows(folder, LIKELIHOOD, Likelihood, ("model", "conversation_id"))
    }
    knowledge = {
        (row.model, row.question_id, row.rotation): row
        for row in measured_rows(folder, KNOWLEDGE, Knowledge, ("model", "question_id", "rotation"))
    }
    answers = {
        (row.model, row.scenario_id, row.number): row
        for row in measured_rows(folder, ANSWERS, Answer, ("model", "scenario_id", "number"))
    }
    neutral = {
        (row.model, row.text_id): row
        for row in measured_rows(folder, NEUTRAL_TEXT, NeutralLikelihood, ("model", "text_id"))
    }
    option_text = {
        (row.model, row.question_id): row
        for row in measured_rows(folder, OPTION_TEXT, OptionText, ("model", "question_id"))
    }
    n, models = plan["n"], tuple(plan["models"])
    complete(LIKELIHOOD, {(m, c) for m in models for c in conversations}, likelihood)
    if NEUTRAL in plan["files"]:
        texts = planned(folder, NEUTRAL, "text_id")
        complete(NEUTRAL_TEXT, {(m, t) for m in models for t in texts}, neutral)
        whole = questions[: n.get("option_texts", len(questions))]
        asked = {(m, q.question_id) for m in models for q in whole}
        complete(OPTION_TEXT, asked, option_text)
    complete(
        KNOWLEDGE,
        {(m, q.question_id, r) for m in models for q in questions for r in range(n["rotations"])},
        knowledge,
    )
    complete(
        ANSWERS,
        {(m, s.scenario_id, p) for m in models for s in scenarios for p in passes(plan)},
        answers,
    )
    _check_values(knowledge, likelihood, conversations, models)
    return Measurements(
        plan, likelihood, knowledge, answers, _gold(rows), conversations, models, neutral,
        option_text,
    )  # fmt: skip


def planned(folder: RunFolder, name: str, key: str) -> list[str]:
    """Ids of a plan file, in order."""
    return [str(row[key]) for row in folder.read_jsonl(name)]


def _plan(folder: RunFolder, spec: JobSpec) -> dict[str, Any]:
    if not folder.exists(PLAN):
        raise EvaluationError(f"{folder.url}/{PLAN} is missing", fix="resume the job")
    if hashlib.sha256(folder.read_bytes(PLAN)).hexdigest() != spec.plan_sha256:
        raise EvaluationError(
            "plan/plan.json is not the plan that was hashed into the job before training",
            cause="the file was changed afterwards",
            fix="restore it from the job's run folder backup, or start a new job",
        )
    plan: dict[str, Any] = folder.read_json(PLAN)
    for name, expected in plan["files"].items():
        if hashlib.sha256(folder.read_bytes(name)).hexdigest() != expected:
            raise EvaluationError(
                f"{name} is not the file that was planned: its sha256 differs",
                cause="the file was changed after the plan was hashed",
                fix="restore it, or start a new job",
            )
    return plan


def measured_rows(folder: RunFolder, name: str, kind: type[Any], key: tuple[str, ...]) -> list[Any]:
    """Rows of a measurements file, one of each key; EvaluationError: line and field."""
    found: dict[tuple[Any, ...], Any] = {}
    for number, raw in enumerate(folder.read_jsonl(name), start=1):
        try:
            row = kind.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            raise EvaluationError(
                f"{name} line {number}, {'.'.join(map(str, first['loc']))}: {first['msg']}",
                fix="resume the job: damaged measurements are taken again",
            ) from None
        item = tuple(getattr(row, part) for part in key)
        if found.setdefault(item, row) != row:
            raise EvaluationError(f"{name} line {number}: {item} was measured twice, differently")
    return list(found.values())


def complete(name: str, expected: set[tuple[Any, ...]], found: Mapping[Any, object]) -> None:
    """EvaluationError when something planned was not measured."""
    missing = sorted(expected - set(found))
    if missing:
        shown = "; ".join(" ".join(map(str, item)) for item in missing[:3])
        raise EvaluationError(
            f"{name}: {len(missing)} of {len(expected)} measurements are missing ({shown})",
            cause="the measuring stage did not finish",
            fix="resume the job: what is measured is not measured again",
        )


def _check_values(
    knowledge: Mapping[Any, Knowledge],
    likelihood: Mapping[tuple[str, str], Likelihood],
    conversations: tuple[str, ...],
    models: tuple[str, ...],
) -> None:
    for row in knowledge.values():
        if sorted(row.order) != [0, 1, 2, 3]:
            raise EvaluationError(f"{KNOWLEDGE}: {row.question_id} has order {row.order}")
        if not all(math.isfinite(value) for value in row.logprobs):
            raise EvaluationError(f"{KNOWLEDGE}: {row.question_id} has logprobs {row.logprobs}")
    for name in conversations:
        counts = {likelihood[model, name].tokens for model in models}
        if len(counts) > 1:
            raise EvaluationError(
                f"{LIKELIHOOD}: conversation {name} was scored on different tokens: {counts}",
                cause="baseline and trained were not measured with the same tokenizer and template",
                fix="measure both again from one loaded model",
            )


def _same_questions(folder: RunFolder, questions: tuple[Question, ...]) -> None:
    asked = {str(row["question_id"]): row for row in folder.read_jsonl(QUESTIONS)}
    for question in questions:
        row = asked[question.question_id]
        if row["question"] != question.question or tuple(row["options"]) != question.options:
            raise EvaluationError(
                f"question {question.question_id} was asked in another wording than evals/data has",
                cause="questions.jsonl was edited after this job was planned",
                fix="assess with the version of evals/data that plan.json names under `sources`",
            )


def _same_scenarios(folder: RunFolder, scenarios: tuple[Scenario, ...]) -> None:
    asked = {str(row["scenario_id"]): row for row in folder.read_jsonl(SCENARIOS)}
    for scenario in scenarios:
        if asked[scenario.scenario_id]["messages"][-1]["content"] != scenario.client_message:
            raise EvaluationError(
                f"scenario {scenario.scenario_id} was asked in another wording than evals/data has",
                cause="scenarios.jsonl was edited after this job was planned",
                fix="assess with the version of evals/data that plan.json names under `sources`",
            )


def _gold(rows: list[dict[str, Any]]) -> tuple[GoldAnswer, ...]:
    return tuple(
        GoldAnswer(
            conversation_id=str(row["conversation_id"]),
            arc=str(row.get("arc", "")),
            text=str(message["content"]),
        )
        for row in rows
        for message in row["messages"]
        if message["role"] == "assistant"
    )
