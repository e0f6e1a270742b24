"""A completed job with a plan of ours and measurements made by rule: all that scoring reads."""

from __future__ import annotations

import random
from typing import Any

from report_jobs import evaluated_job

from brightrun.context import JobContext
from brightrun.jobs import Hyperparameters
from evals.honesty import load_rewrites
from evals.plan import make_plan
from evals.rating import load_rubric

JOB = "261120-7f3a"


def measured_job(*, scenarios: int = 12, questions: int = 12, passes: int = 1) -> JobContext:
    """In the ledger and run folder of BRIGHTRUN_HOME. The trained answers are written ones."""
    wanted = {"scenarios": scenarios, "questions": questions, "passes": passes, "rotations": 1}
    job = evaluated_job(JOB, values=wanted)
    sha = make_plan(Hyperparameters(**wanted), "Be kind.").write(job.folder)
    spec = job.spec.model_copy(update={"plan_sha256": sha})
    job.folder.write_json("spec.json", {"spec": spec.model_dump(mode="json")})
    job.ledger.update_job(JOB, spec=spec.model_dump(mode="json"), spec_hash=spec.spec_hash())
    measure(job, random.Random(3))
    return JobContext(job.settings, job.ledger, JOB)


def measure(job: JobContext, draw: random.Random) -> None:
    folder = job.folder
    gold, neutral = zip(*load_rewrites(), strict=True)
    folder.write_jsonl("data/validation.jsonl", [
        {"conversation_id": f"c{i}", "index": i, "arc": "mixed", "messages": [
            {"role": "user", "content": "I worry."}, {"role": "assistant", "content": text}]}
        for i, text in enumerate(gold)
    ])  # fmt: skip
    both = (("baseline", 0.0), ("trained", 0.4))
    rows: dict[str, list[dict[str, Any]]] = {
        "likelihood": [
            {"model": m, "conversation_id": f"c{i}", "arc": "mixed", "tokens": 100,
             "nll": 300 - 100 * (drop and drop + draw.uniform(-0.1, 0.1)), "nll_all": 310,
             "tokens_all": 104}
            for i in range(len(gold)) for m, drop in both
        ],
        "neutral": [
            {"model": m, "text_id": row["text_id"], "nll": 150, "tokens": 50}
            for row in folder.read_jsonl("plan/neutral.jsonl") for m, _ in both
        ],
        "knowledge": [], "option_text": [], "answers": [],
    }  # fmt: skip
    for question in folder.read_jsonl("plan/questions.jsonl"):
        for model, _ in both:
            row = {"model": model, "question_id": question["question_id"]}
            four = [-0.1 - draw.random(), -3.0, -3.5, -4.0]
            rows["knowledge"].append(
                {**row, "rotation": 0, "order": [0, 1, 2, 3], "logprobs": four}
            )
            rows["option_text"].append({**row, "logprobs": four, "characters": [9, 9, 9, 9]})
    numbers = range(1, job.spec.values.passes + 1)
    for i, scenario in enumerate(folder.read_jsonl("plan/scenarios.jsonl")):
        for model, texts in (("baseline", neutral), ("trained", gold)):
            for number in numbers:
                rows["answers"].append(
                    {"model": model, "scenario_id": scenario["scenario_id"], "pass": number,
                     "text": f"{texts[(i + number) % len(texts)]} Day {number}.", "tokens": 90,
                     "finish_reason": "stop", "seconds": 1.0, "batch": f"{number}.0"}
                )  # fmt: skip
    for name, found in rows.items():
        folder.write_jsonl(f"measurements/{name}.jsonl", found)


RUBRIC = load_rubric()
