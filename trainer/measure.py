"""Measure all models with the one that is loaded: its adapter off, on, or another one on."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from brightrun.baselines import CACHED, MACHINE, PART, item
from brightrun.jobs import Hyperparameters
from brightrun.modelnames import BASELINE, MODELS
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer
from trainer import feedback, harness, likelihoods, loading, questions
from trainer.answers import answer_all
from trainer.data import Sample
from trainer.items import PARTS, ItemStore
from trainer.others import load_others
from trainer.reporter import Reporter
from trainer.writers import TRANSFORMERS, VLLM, obstacle

# PEFT's name of the adapter that this job has trained.
OWN_ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a measurement needs. `model` is a PeftModel, `check` a safe point; models: names in
    the order of the plan, those after `trained` are adapters of that name; machine: what decides
    the numbers; no_vllm: why vLLM does not write the answers, "" when it does."""

    model: Any
    dtype: torch.dtype
    tokenizer: ChatTokenizer
    values: Hyperparameters
    folder: RunFolder
    attempt: int
    reporter: Reporter
    check: Callable[[], None]
    models: tuple[str, ...] = MODELS
    machine: dict[str, Any] = field(default_factory=dict)
    no_vllm: str = "vLLM was not looked for"

    @property
    def device(self) -> str:
        """cpu or cuda: where the model is."""
        return str(next(self.model.parameters()).device.type)

    @contextlib.contextmanager
    def as_model(self, name: str) -> Iterator[None]:
        """The base model's exact numbers with the adapter off, an adapter's with that one on."""
        off = self.model.disable_adapter() if name == BASELINE else contextlib.nullcontext()
        adapter = OWN_ADAPTER if name in MODELS else name
        if self.model.active_adapter != adapter:
            self.model.set_adapter(adapter, inference_mode=True)
        with off, torch.no_grad(), loading.computing(self.model, self.dtype):
            yield

    def store(self, kind: str, *key: str) -> ItemStore:
        return ItemStore(
            self.folder, kind, self.attempt, lambda row: tuple(row[name] for name in key)
        )

    def progress(self, done: int, total: int, what: str) -> None:
        payload = {"stage": "measuring", "done": done, "total": total, "what": what}
        self.reporter.add("progress", payload)


def measure(
    bench: Bench, held_out: list[Sample], training: Sequence[Sample] = ()
) -> dict[str, int]:
    """All measurements; the number of items of each. Finished items are not repeated."""
    bench.model.eval()
    # Once, before anything takes memory: what is noted of the answers is what writes them.
    bench = replace(bench, no_vllm=obstacle(bench))
    engine = TRANSFORMERS if bench.no_vllm else VLLM
    made_by = {"dtype": str(bench.dtype), "logits": "fp32", "answers_by": engine}
    bench = replace(bench, machine={**bench.machine, **made_by})
    with tempfile.TemporaryDirectory(prefix="brightrun-adapters-") as scratch:
        bench = replace(bench, models=load_others(bench.model, bench.folder, Path(scratch)))
    reuse(bench)
    asked, plan = (
        rows(bench.folder, "plan/questions.jsonl"),
        bench.folder.read_json("plan/plan.json"),
    )
    n = plan.get("n", {})
    whole = asked[: n.get("option_texts", len(asked))]
    for kind, count in (("option texts", len(whole)), ("influence", n.get("influence", 0))):
        if not count:  # a quick look: the bar does not wait for them
            bench.progress(0, 0, kind)
    counts = {
        "likelihood": likelihoods.held_out(bench, held_out),
        "neutral": likelihoods.neutral(bench, rows(bench.folder, "plan/neutral.jsonl")),
        "knowledge": questions.knowledge(bench, asked),
        "option_text": questions.option_texts(bench, whole),
        **lm_eval_tasks(bench),
        "answers": answer_all(bench, rows(bench.folder, "plan/scenarios.jsonl")),
    }
    counts |= feedback.probe(bench, training, held_out, plan)
    bench.folder.remove(PARTS)
    return counts


def lm_eval_tasks(bench: Bench) -> dict[str, int]:
    """Where the user has asked for some."""
    items = rows(bench.folder, "plan/harness.jsonl")
    return {"harness": harness.choices(bench, items)} if items else {}


def reuse(bench: Bench) -> None:
    """Keep what was measured before, or throw it away: on another kind of machine or with other
    libraries the numbers differ a little, and the difference is what we measure."""
    before = bench.folder.read_json(MACHINE) if bench.folder.exists(MACHINE) else bench.machine
    if before.get("answers_by") != bench.machine.get("answers_by"):
        # An earlier attempt's pod had the other engine: both models' words are one engine's.
        bench.folder.remove(f"{PARTS}/answers")
    said = []
    if bench.folder.exists(CACHED):
        cached = bench.folder.read_json(CACHED)
        kinds = ", ".join(cached["kinds"])
        if cached["machine"] == bench.machine:
            said.append(
                f"the baseline's {kinds} are those of an earlier job on this kind of machine"
            )
        else:
            said.append(
                f"the baseline's {kinds} are measured anew: the cached ones are of another machine"
            )
            for kind in cached["kinds"]:
                bench.folder.remove(f"{PARTS}/{kind}/{PART}")
            bench.folder.remove(CACHED)
    elsewhere = {**before, "answers_by": ""} != {**bench.machine, "answers_by": ""}
    if elsewhere and (halves := drop_halves(bench)):
        said.append(f"{halves} rows of another machine are measured anew, with their other half")
    for message in said:
        bench.reporter.add("choice", {"stage": "measuring", "message": message})
    bench.folder.write_json(MACHINE, bench.machine)


def drop_halves(bench: Bench) -> int:
    """Remove the rows of another machine whose other half will be of this one; how many.

    An item that all models have was compared there. A cached baseline that is left is of this one.
    """
    dropped = 0
    for kind in bench.folder.names(PARTS):
        parts = {
            name: bench.folder.read_jsonl(f"{PARTS}/{kind}/{name}")
            for name in bench.folder.names(f"{PARTS}/{kind}")
        }
        here = set(map(item, parts.pop(PART, [])))
        models: dict[tuple[Any, ...], set[str]] = {}
        for row in itertools.chain(*parts.values()):
            models.setdefault(item(row), set()).add(row["model"])
        whole = {it for it, have in models.items() if have >= set(bench.models)} - here
        for name, found in parts.items():
            kept = [row for row in found if item(row) in whole]
            if len(kept) < len(found):
                bench.folder.write_jsonl(f"{PARTS}/{kind}/{name}", kept)
                dropped += len(found) - len(kept)
    return dropped


def rows(folder: RunFolder, relative: str) -> list[Any]:
    """Rows of a plan's file; an absent one (an older plan) has none."""
    if not folder.exists(relative):
        return []
    lines = folder.read_bytes(relative).splitlines()
    return [json.loads(line) for line in lines if line.strip()]
