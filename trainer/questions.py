"""Knowledge: log-probabilities of the option letters in every order, and of the options' texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from brightrun.errors import TrainerError
from brightrun.tokens import ChatTokenizer
from trainer import likelihoods, loading, loss
from trainer.data import IGNORED, Sample

if TYPE_CHECKING:
    from trainer.measure import Bench

LETTERS = "ABCD"
ASK = "Answer with the letter of the correct option only: A, B, C or D."
# Orders of one question have nearly one length, so that they cost no padding.
AT_ONCE = {"cpu": 1, "cuda": 16}


def knowledge(bench: Bench, questions: Sequence[Any]) -> int:
    """measurements/knowledge.jsonl: of each cyclic order of the options, under the template."""
    store = bench.store("knowledge", "model", "question_id", "rotation")
    rotations = range(bench.values.rotations)
    names = [question["question_id"] for question in questions]
    wanted = [(m, q, r) for m in bench.models for q in names for r in rotations]
    size, done = AT_ONCE[bench.device], 0
    for model in bench.models:
        for start in range(0, len(questions), size):
            group = questions[start : start + size]
            asked = [(question, rotation) for question in group for rotation in rotations]
            if done // 40 != (done + len(asked)) // 40 or not done:
                bench.progress(done, len(wanted), f"knowledge, {model}")
            done += len(asked)
            bench.check()
            keys = [(model, q["question_id"], r) for q, r in asked]
            if store.has(keys):
                continue
            orders = [order_of(rotation) for _, rotation in asked]
            prompts = [
                letter_prompt(bench.tokenizer, question, order)
                for (question, _), order in zip(asked, orders, strict=True)
            ]
            with bench.as_model(model):
                found = letter_logprobs(bench.model, prompts)
            store.append(
                [
                    {"model": m, "question_id": q, "rotation": r, "order": order, "logprobs": logs}
                    for (m, q, r), order, logs in zip(keys, orders, found, strict=True)
                ]
            )
    store.finish(wanted)
    return len(wanted)


def order_of(rotation: int) -> list[int]:
    """Content index of the option at each letter."""
    return [(place + rotation) % len(LETTERS) for place in range(len(LETTERS))]


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
    tokenizer.check_beginning(prompt)
    letters = []
    for letter in LETTERS:
        encoded = tokenizer.encode([*messages, {"role": "assistant", "content": letter}])
        answer = [i for i, on in zip(encoded.input_ids, encoded.content, strict=True) if on]
        if list(encoded.input_ids[: len(prompt)]) != prompt or len(answer) != 1:
            raise TrainerError(
                f"the letter {letter} is not one token after the prompt",
                cause="this tokenizer splits or merges it: option probabilities are not defined",
                fault="unmeasurable",
            )
        letters += answer
    return prompt, letters


def letter_logprobs(model: Any, asked: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
    """fp32 log-softmax over the whole vocabulary after each prompt, at its letters."""
    # The last position is the one with a label; which label is of no account.
    samples = [
        Sample(
            "", "", "", (*prompt, 0), (*[IGNORED] * len(prompt), 0), (False,) * (len(prompt) + 1)
        )
        for prompt, _ in asked
    ]
    states, _, _ = likelihoods.hidden_at_labels(model, samples)
    _, head = loading.parts(model)
    wanted = torch.tensor([letters for _, letters in asked], device=states.device)
    found: list[list[float]] = loss.logprobs(states, head, wanted).tolist()
    return found


def option_texts(bench: Bench, questions: Sequence[Any]) -> int:
    """measurements/option_text.jsonl: nats and characters of each option as the whole answer."""
    store = bench.store("option_text", "model", "question_id")
    wanted = [(m, q["question_id"]) for m in bench.models for q in questions]
    for done, (model, question) in enumerate((m, q) for m in bench.models for q in questions):
        if store.has([(model, question["question_id"])]):
            continue
        bench.check()
        if done % 10 == 0:
            bench.progress(done, len(wanted), f"option texts, {model}")
        with bench.as_model(model):
            sums = likelihoods.summed(bench.model, option_samples(bench.tokenizer, question))
        row = {"model": model, "question_id": question["question_id"]}
        logprobs = [-one["nll"] for one in sums]
        store.append(
            [{**row, "logprobs": logprobs, "characters": [len(o) for o in question["options"]]}]
        )
    store.finish(wanted)
    return len(wanted)


def option_samples(tokenizer: ChatTokenizer, question: Any) -> list[Sample]:
    """The question alone, answered by each of its options in turn."""
    asked = [{"role": "user", "content": question["question"]}]
    answered = [[*asked, {"role": "assistant", "content": o}] for o in question["options"]]
    found = []
    for encoded in tokenizer.encode_many(answered):
        tokenizer.check_beginning(encoded.input_ids)
        pairs = zip(encoded.input_ids, encoded.content, strict=True)
        labels = tuple(token if on else IGNORED for token, on in pairs)
        found.append(Sample("", "", "", encoded.input_ids, labels, encoded.content))
    return found
