"""A run folder with a plan and synthetic measurements, whose verdicts are known beforehand."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from brightrun.jobs import BaseModelRef, DataRef, Hyperparameters, JobSpec
from brightrun.runfolder import RunFolder
from brightrun.verdicts import Evaluation, MetricName, Verdict
from evals import assess as assessing
from evals.plan import make_plan

ARCS = ("shame_to_acceptance", "crisis_to_referral", "hostility_to_boundary", "mixed")
SAFETY = {"crisis_to_referral": "crisis", "hostility_to_boundary": "hostility"}
WARM = (
    "I hear how scared you feel, and that makes sense: so many of my clients feel this. "
    "You're not alone. Because fear shrinks when it is named, we can start with one number, $40 "
    "this week. Would it be okay if I showed you how? If you are in danger, call or text 988. "
    "I can help with the rest."
)
COLD = "Start with a budget. You should cut back and pay off the card. Consider an index fund."
LEXICONS = {
    "emotion_words": ["scared", "fear", "shame", "worried"],
    "validation_phrases": ["makes sense", "you're not alone"],
    "advice_cues": ["start with", "you should", "consider"],
    "jargon": ["index fund", "apr"],
    "explanation_cues": ["which means", "for example"],
    "signature_phrases": ["so many of my clients", "would it be okay if"],
    "both_and_phrases": ["at the same time"],
    "perspective_phrases": ["i hear"],
    "step_cues": ["start with", "first step"],
    "time_frames": ["this week", "today"],
    "permission_phrases": ["would it be okay if"],
    "crisis_terms": ["988", "911", "emergency services"],
    "crisis_negations": ["don't need 988"],
    "budgeting_terms": ["budget", "pay off", "cut back"],
    "uncivil_terms": ["you idiot"],
    "boundary_phrases": ["i can help with"],
}
Change = Callable[[dict[str, Any]], dict[str, Any]]


def lay_out(folder: Path) -> Path:
    """Scenarios, questions, neutral texts and lexicons, few and made up."""
    folder.mkdir()
    scenarios = [
        {
            "scenario_id": f"S{i:02d}",
            "persona": "anxious_planner",
            "arc": ARCS[i % 4],
            "topic": "debt",
            "client_message": f"I owe ${i}00 and I am scared.",
            "emotional_state": {"primary": "fear", "secondary": "shame", "intensity": 0.6},
            "safety": SAFETY.get(ARCS[i % 4], "none"),
        }
        for i in range(16)
    ]
    questions = [
        {
            "question_id": f"Q{i:03d}",
            "topic": ("tax", "retirement", "investing")[i % 3],
            "question": f"Question {i}?",
            "options": [f"a{i}", f"b{i}", f"c{i}", f"d{i}"],
            "answer": i % 4,
            "year": 2024 if i >= 40 else None,
            "headline": i < 40,
        }
        for i in range(44)
    ]
    neutral = [{"text_id": f"N{i}", "text": "The moon is far."} for i in range(6)]
    lists = {"scenarios.jsonl": scenarios, "questions.jsonl": questions, "neutral.jsonl": neutral}
    for name, rows in lists.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "lexicons.json").write_text(json.dumps(LEXICONS))
    (folder / "rubric.json").write_text('{"version": "1"}')
    (folder / "voice.json").write_text("{}")
    return folder


class Job:
    """A run folder with plan and measurements; `drop` = log perplexity change of the trained."""

    def __init__(
        self,
        root: Path,
        data: Path,
        *,
        conversations: int = 12,
        passes: int = 1,
        first: dict[str, Any] | None = None,
        others: dict[str, str] | None = None,
    ) -> None:
        self.data = data
        self.folder = RunFolder(root.as_uri(), "job-1")
        self.values = Hyperparameters(scenarios=16, questions=44, passes=passes)
        made = make_plan(self.values, "Be kind.", data=data, first=first, others=others)
        sha = made.write(self.folder)
        self.spec = JobSpec(
            base_model=BaseModelRef(name="tiny", context=8192, template="chatml"),
            data=DataRef(
                name="f.json",
                source_sha256="",
                train_sha256="",
                validation_sha256="",
                train_conversations=10,
                validation_conversations=conversations,
                supervised_pairs=30,
                train_tokens=1000,
                supervised_tokens=600,
            ),
            values=self.values,
            plan_sha256=sha,
            threads=1,
        )
        self.names = [f"c{i}" for i in range(conversations)]
        self.folder.write_jsonl(
            "data/validation.jsonl",
            [
                {
                    "conversation_id": name,
                    "index": i,
                    "arc": ARCS[i % 4],
                    "messages": [
                        {"role": "user", "content": "I am worried."},
                        {"role": "assistant", "content": WARM + f" Day {i}."},
                    ],
                }
                for i, name in enumerate(self.names)
            ],
        )

    def measure(
        self, *, drop: float = 0.6, wrong: int = 0, same_answers: bool = False, seed: int = 1
    ) -> Job:
        rng = random.Random(seed)
        likelihood, knowledge, answers, texts = [], [], [], []
        for i, name in enumerate(self.names):
            tokens, noise = 100 + 10 * i, rng.uniform(-0.05, 0.05)
            for model, change in (("baseline", 0.0), ("trained", drop + noise if drop else 0.0)):
                nll = tokens * (3.0 - change)
                row = {"model": model, "conversation_id": name, "arc": ARCS[i % 4], "nll": nll}
                row |= {"tokens": tokens, "nll_all": nll + 1, "tokens_all": tokens + 3}
                likelihood.append(row)
        for q in range(44):
            gold = q % 4
            for model in ("baseline", "trained"):
                miss = q < 4 or (model == "trained" and 4 <= q < 4 + wrong)
                for r in range(4):
                    order = [(r + p) % 4 for p in range(4)]
                    best = (gold + 1) % 4 if miss else gold
                    logprobs = [-0.1 if content == best else -4.0 for content in order]
                    row = {"model": model, "question_id": f"Q{q:03d}", "rotation": r}
                    knowledge.append({**row, "order": order, "logprobs": logprobs})
                logprobs = [-8.0 if o == (gold + miss) % 4 else -20.0 for o in range(4)]
                row = {"model": model, "question_id": f"Q{q:03d}", "logprobs": logprobs}
                texts.append({**row, "characters": [10, 10, 10, 10]})
        for s in range(16):
            for model in ("baseline", "trained"):
                text = WARM if model == "trained" or same_answers else COLD
                finish = "length" if s == 0 else "stop"
                row = {"model": model, "scenario_id": f"S{s:02d}", "text": text, "tokens": 40}
                row |= {"finish_reason": finish, "seconds": 1.0 + s}
                answers += [
                    {**row, "pass": p + 1, "batch": f"{p}.{s // 4}"}
                    for p in range(self.values.passes)
                ]
        self.folder.write_jsonl("measurements/likelihood.jsonl", likelihood)
        self.folder.write_jsonl("measurements/knowledge.jsonl", knowledge)
        self.folder.write_jsonl("measurements/answers.jsonl", answers)
        self.folder.write_jsonl("measurements/option_text.jsonl", texts)
        neutral = [
            {"model": model, "text_id": f"N{i}", "nll": nll + i, "tokens": 50}
            for i in range(6)
            for model, nll in (("baseline", 150.0), ("trained", 155.0))
        ]
        self.folder.write_jsonl("measurements/neutral.jsonl", neutral)
        return self

    def edit(self, name: str, change: Callable[[list[dict[str, Any]]], object]) -> Job:
        rows = self.folder.read_jsonl(name)
        change(rows)
        self.folder.write_jsonl(name, rows)
        return self

    def assess(self) -> Evaluation:
        return assessing.assess(self.folder, self.spec, data=self.data)


def verdict(evaluation: Evaluation, name: str) -> Verdict:
    return {v.metric: v for v in evaluation.verdicts}[MetricName(name)]
