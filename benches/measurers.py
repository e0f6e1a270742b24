"""The two ways to measure that `benches.measuring` compares; both return the same numbers."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from benches.sample import ROOT, material
from brightrun.jobs import Hyperparameters
from brightrun.modelnames import MODELS
from brightrun.runfolder import RunFolder
from brightrun.settings import load
from brightrun.tokens import ChatTokenizer
from trainer import likelihoods, loading, measure, questions
from trainer.answers import answer_all, cut, end_tokens
from trainer.data import IGNORED, Sample

DATA = ROOT / "evals" / "data"
Numbers = dict[str, dict[str, Any]]


@dataclass(slots=True)
class Clock:
    """CPU seconds of this process (all threads) and wall seconds, part by part."""

    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        before = time.process_time(), time.perf_counter()
        yield
        self.cpu[name] += time.process_time() - before[0]
        self.wall[name] += time.perf_counter() - before[1]


@dataclass(frozen=True, slots=True)
class Task:
    """What is measured."""

    folder: Path
    tokenizer: ChatTokenizer
    values: Hyperparameters
    held_out: list[Sample]
    scenarios: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    passages: list[dict[str, Any]]


def task_of(given: argparse.Namespace, file: Path) -> Task:
    found = material(file, load().models, given.base_model, 1, given.held_out)
    system = next(m for m in found.training[0]["messages"] if m["role"] == "system")
    scenarios = [
        {
            "scenario_id": row["scenario_id"],
            "messages": [system, {"role": "user", "content": row["client_message"]}],
        }
        for row in rows("scenarios.jsonl", given.scenarios)
    ]
    values = Hyperparameters(
        precision="fp32", passes=1, rotations=given.rotations, max_new_tokens=given.max_new_tokens
    )
    return Task(
        found.folder, found.tokenizer, values, found.held_out, scenarios,
        rows("questions.jsonl", given.questions), rows("neutral.jsonl", given.passages),
    )  # fmt: skip


def rows(name: str, count: int) -> list[dict[str, Any]]:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:count]]


def save_adapter(task: Task, place: Path) -> None:
    """LoRA r16 on all projections, weights by seed: large enough to change what is said."""
    base = loading.load_base(task.folder, "fp32")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(base.model, LoraConfig(r=16, lora_alpha=32, target_modules=targets))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.005)
    model.save_pretrained(str(place), safe_serialization=True)


def ours(task: Task, adapter: Path, clock: Clock) -> Numbers:
    """The pod's own functions on a run folder."""
    with clock.part("load"):
        base = loading.load_base(task.folder, "fp32")
        model = PeftModel.from_pretrained(base.model, str(adapter)).eval()
    with tempfile.TemporaryDirectory(prefix="brightrun-bench-") as place:
        folder = RunFolder(Path(place).as_uri(), "bench")
        nothing: Any = SimpleNamespace(add=lambda *_: None, warn=lambda *_: None)
        bench = measure.Bench(
            model, base.dtype, task.tokenizer, task.values, folder, 1, nothing, lambda: None
        )
        work: dict[str, Callable[[], int]] = {
            "likelihood": lambda: likelihoods.held_out(bench, task.held_out),
            "neutral": lambda: likelihoods.neutral(bench, task.passages),
            "knowledge": lambda: questions.knowledge(bench, task.questions),
            "option_text": lambda: questions.option_texts(bench, task.questions),
            "answers": lambda: answer_all(bench, task.scenarios),
        }
        for name, do in work.items():
            with clock.part(name):
                do()
        read = {name: folder.read_jsonl(f"measurements/{name}.jsonl") for name in work}
    return {
        "likelihood": {f"{r['model']} {r['conversation_id']}": [r["nll"] / r["tokens"]]
                       for r in read["likelihood"]},
        "neutral": {f"{r['model']} {r['text_id']}": [r["nll"] / r["tokens"]]
                    for r in read["neutral"]},
        "knowledge": {f"{r['model']} {r['question_id']} {r['rotation']}": r["logprobs"]
                      for r in read["knowledge"]},
        "option_text": {f"{r['model']} {r['question_id']}": r["logprobs"]
                        for r in read["option_text"]},
        "answers": {f"{r['model']} {r['scenario_id']}": r["text"] for r in read["answers"]},
    }  # fmt: skip


def naive(task: Task, adapter: Path, clock: Clock) -> Numbers:
    """Base model and adapter one after the other, each loaded, each item alone."""
    found: Numbers = defaultdict(dict)
    for name in MODELS:
        with clock.part("load"), torch.no_grad():
            model: Any = AutoModelForCausalLM.from_pretrained(
                str(task.folder), dtype=torch.float32, use_safetensors=True
            )
            if name == "trained":
                model = PeftModel.from_pretrained(model, str(adapter))
            model.eval()
        with torch.no_grad():
            _texts(task, model, name, clock, found)
            _questions(task, model, name, clock, found)
            _answers(task, model, name, clock, found)
        del model
    return found


def token_logprobs(model: Any, sample: Sample) -> list[float]:
    """log p of every labelled content token, from the logits of the whole sequence."""
    logits = model(input_ids=torch.tensor([sample.ids])).logits[0].float()
    logprobs = torch.log_softmax(logits, dim=-1)
    wanted = [
        at for at, (label, content) in enumerate(zip(sample.labels, sample.content, strict=True))
        if at and label != IGNORED and content
    ]  # fmt: skip
    return [logprobs[at - 1, sample.ids[at]].item() for at in wanted]


def _texts(task: Task, model: Any, name: str, clock: Clock, found: Numbers) -> None:
    with clock.part("likelihood"):
        for sample in task.held_out:
            values = token_logprobs(model, sample)
            key = f"{name} {sample.conversation_id}"
            found["likelihood"][key] = [-sum(values) / len(values)]
    with clock.part("neutral"):
        for row in task.passages:
            values = token_logprobs(model, likelihoods.plain(task.tokenizer, row))
            found["neutral"][f"{name} {row['text_id']}"] = [-sum(values) / len(values)]


def _questions(task: Task, model: Any, name: str, clock: Clock, found: Numbers) -> None:
    with clock.part("knowledge"):
        for row in task.questions:
            for rotation in range(task.values.rotations):
                order = questions.order_of(rotation)
                prompt, letters = questions.letter_prompt(task.tokenizer, row, order)
                logits = model(input_ids=torch.tensor([prompt])).logits[0, -1].float()
                key = f"{name} {row['question_id']} {rotation}"
                found["knowledge"][key] = torch.log_softmax(logits, -1)[letters].tolist()
    with clock.part("option_text"):
        for row in task.questions:
            asked = questions.option_samples(task.tokenizer, row)
            sums = [sum(token_logprobs(model, sample)) for sample in asked]
            found["option_text"][f"{name} {row['question_id']}"] = sums


def _answers(task: Task, model: Any, name: str, clock: Clock, found: Numbers) -> None:
    ends = end_tokens(model, task.tokenizer)
    with clock.part("answers"):
        for row in task.scenarios:
            prompt = torch.tensor([task.tokenizer.prompt(row["messages"])])
            output = model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
                max_new_tokens=task.values.max_new_tokens, eos_token_id=sorted(ends),
                pad_token_id=task.tokenizer.eot_id,
            )  # fmt: skip
            kept, _ = cut(output[0, prompt.shape[1] :].tolist(), ends)
            found["answers"][f"{name} {row['scenario_id']}"] = task.tokenizer.decode(kept).strip()


CONTENDERS: dict[str, Callable[[Task, Path, Clock], Numbers]] = {"ours": ours, "naive": naive}
