"""Measure baseline and trained model: the one loaded model, its adapter off and on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from brightrun.errors import TrainerError
from brightrun.jobs import Hyperparameters
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer
from trainer import loading, loss
from trainer.answers import answer_all
from trainer.data import IGNORED, Sample
from trainer.items import PARTS, ItemStore
from trainer.reporter import Reporter

Which = Literal["baseline", "trained"]
MODELS: tuple[Which, Which] = ("baseline", "trained")
LETTERS = "ABCD"
ASK = "Answer with the letter of the correct option only: A, B, C or D."


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a measurement needs. `model` is a PeftModel, `check` a safe point."""

    model: Any
    dtype: torch.dtype
    tokenizer: ChatTokenizer
    values: Hyperparameters
    folder: RunFolder
    attempt: int
    reporter: Reporter
    check: Callable[[], None]

    @contextlib.contextmanager
    def as_model(self, which: Which) -> Iterator[None]:
        """The base model's exact numbers with the adapter off, the trained ones with it on."""
        off = self.model.disable_adapter() if which == "baseline" else contextlib.nullcontext()
        with off, torch.no_grad(), loading.computing(self.model, self.dtype):
            yield

    def store(self, kind: str, *key: str) -> ItemStore:
        return ItemStore(
            self.folder, kind, self.attempt, lambda row: tuple(row[name] for name in key)
        )

    def progress(self, done: int, total: int, what: str) -> None:
        payload = {"stage": "measuring", "done": done, "total": total, "what": what}
        self.reporter.add("progress", payload)


def measure(bench: Bench, held_out: list[Sample]) -> dict[str, int]:
    """All three measurements; the number of items of each. Finished items are not repeated."""
    bench.model.eval()
    counts = {
        "likelihood": likelihoods(bench, held_out),
        "knowledge": knowledge(bench, _rows(bench.folder, "plan/questions.jsonl")),
        "answers": answer_all(bench, _rows(bench.folder, "plan/scenarios.jsonl")),
    }
    bench.folder.remove(PARTS)
    return counts


def _rows(folder: RunFolder, relative: str) -> list[Any]:
    lines = folder.read_bytes(relative).splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def likelihoods(bench: Bench, held_out: list[Sample]) -> int:
    """measurements/likelihood.jsonl: nats of the held-out conversations, one at a time.

    One that was split is one row all the same: its parts are no independent evidence.
    """
    store = bench.store("likelihood", "model", "conversation_id")
    samples: dict[str, list[Sample]] = {}
    for sample in held_out:
        samples.setdefault(sample.conversation_id, []).append(sample)
    wanted = [(which, name) for which in MODELS for name in samples]
    for done, (which, name) in enumerate(wanted):
        bench.check()
        bench.progress(done, len(wanted), f"likelihood, {which}")
        if not store.has([(which, name)]):
            with bench.as_model(which):
                parts = [likelihood(bench.model, sample) for sample in samples[name]]
            store.append([{"model": which, **whole(parts)}])
    store.finish(wanted)
    return len(wanted)


def whole(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of a conversation from those of its parts."""
    sums = ("nll", "tokens", "nll_all", "tokens_all")
    return parts[0] | {name: sum(part[name] for part in parts) for name in sums}


def likelihood(model: Any, sample: Sample) -> dict[str, Any]:
    """nll (content tokens) and nll_all (with end-of-turn tokens) of one sequence, in nats."""
    device = next(model.parameters()).device
    backbone, head = loading.parts(model)
    hidden = backbone(input_ids=torch.tensor([sample.ids], device=device), use_cache=False)
    labels = torch.tensor([sample.labels], device=device)
    states, targets = loss.labelled(hidden.last_hidden_state, labels)
    nll = loss.token_nll(states, head, targets).double()
    pairs = zip(sample.content[1:], sample.labels[1:], strict=True)
    content = torch.tensor([c for c, label in pairs if label != IGNORED], device=device)
    return {
        "conversation_id": sample.conversation_id,
        "arc": sample.arc,
        "nll": nll[content].sum().item(),
        "tokens": int(content.sum().item()),
        "nll_all": nll.sum().item(),
        "tokens_all": len(nll),
    }


def knowledge(bench: Bench, questions: list[Any]) -> int:
    """measurements/knowledge.jsonl: log-probabilities of the option letters."""
    store = bench.store("knowledge", "model", "question_id", "rotation")
    rotations = range(bench.values.rotations)
    by_id = {question["question_id"]: question for question in questions}
    wanted = [(w, q, r) for w in MODELS for q in by_id for r in rotations]
    for done, key in enumerate(wanted):
        which, name, rotation = key
        if store.has([key]):
            continue
        bench.check()
        if done % 10 == 0:
            bench.progress(done, len(wanted), f"knowledge, {which}")
        order = [(place + rotation) % len(LETTERS) for place in range(len(LETTERS))]
        prompt, letters = letter_prompt(bench.tokenizer, by_id[name], order)
        with bench.as_model(which):
            logprobs = letter_logprobs(bench.model, prompt, letters)
        row = {"model": which, "question_id": name, "rotation": rotation, "order": order}
        store.append([{**row, "logprobs": logprobs}])
    store.finish(wanted)
    return len(wanted)


def letter_prompt(
    tokenizer: ChatTokenizer, question: Any, order: list[int]
) -> tuple[list[int], list[int]]:
    """Ids of the prompt with the options in `order`, and the ids of the letters A-D after it."""
    options = [
        f"{letter}. {question['options'][at]}" for letter, at in zip(LETTERS, order, strict=True)
    ]
    text = "\n".join([question["question"], *options, ASK])
    messages = [{"role": "user", "content": text}]
    prompt = tokenizer.prompt(messages)
    letters = []
    for letter in LETTERS:
        encoded = tokenizer.encode([*messages, {"role": "assistant", "content": letter}])
        answer = [i for i, on in zip(encoded.input_ids, encoded.content, strict=True) if on]
        if list(encoded.input_ids[: len(prompt)]) != prompt or len(answer) != 1:
            raise TrainerError(
                f"the letter {letter} is not one token after the prompt",
                cause="this tokenizer splits or merges it: option probabilities are not defined",
            )
        letters += answer
    return prompt, letters


def letter_logprobs(model: Any, prompt: list[int], letters: list[int]) -> list[float]:
    """fp32 log-softmax over the whole vocabulary at the last position, at the letters."""
    device = next(model.parameters()).device
    backbone, head = loading.parts(model)
    hidden = backbone(input_ids=torch.tensor([prompt], device=device), use_cache=False)
    logits = head(hidden.last_hidden_state[0, -1]).float()
    chosen: list[float] = torch.log_softmax(logits, dim=-1)[letters].tolist()
    return chosen
