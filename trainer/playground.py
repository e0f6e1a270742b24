"""Try prompts on baseline and trained model side by side, word by word: one load, adapter off/on.

    python -m trainer playground --base FOLDER --adapter FOLDER --settings JSON

Reads one JSON object a line ({"messages": [...]}) and writes one a line: {"ready": true}, then
{"model", "text"} pieces of both answers in turn, {"model", "finish_reason", "tokens"} at the end of
each and {"done": true}. {"error": {...}} says what went wrong; the next line is still answered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from peft import PeftModel

from brightrun.errors import BrightRunError, UsageError
from brightrun.jobs import Hyperparameters
from brightrun.modelnames import MODELS
from brightrun.tokens import ChatTokenizer
from trainer import failures, loading
from trainer.answers import end_tokens
from trainer.libraries import deterministic, quiet
from trainer.measure import Bench

Event = dict[str, Any]


@dataclass(slots=True)
class Side:
    """One model's answer while it is written. shown: characters that were told already."""

    name: str
    ids: list[int]
    cache: Any = None
    shown: int = 0
    finish_reason: str = ""


class Playground:
    """One loaded model that answers as two."""

    def __init__(self, bench: Bench, most: int) -> None:
        self.bench = bench
        self.most = most
        self.ends = end_tokens(bench.model, bench.tokenizer)

    def answer(self, messages: list[Any]) -> Iterator[Event]:
        """Pieces of both greedy answers, one token of each in turn."""
        prompt = self.bench.tokenizer.prompt(messages)
        self.bench.tokenizer.check_beginning(prompt)
        sides = [Side(name, []) for name in MODELS]
        while left := [side for side in sides if not side.finish_reason]:
            for side in left:
                self._step(side, prompt)
                text = self.bench.tokenizer.decode(side.ids)
                # Half a character is told with its other half.
                if side.finish_reason or not text.endswith("\ufffd"):
                    piece, side.shown = text[side.shown :], len(text)
                    yield {"model": side.name, "text": piece}
                if side.finish_reason:
                    ending = {"finish_reason": side.finish_reason, "tokens": len(side.ids)}
                    yield {"model": side.name, **ending}
        yield {"done": True}

    def _step(self, side: Side, prompt: list[int]) -> None:
        model = self.bench.model
        new = prompt if side.cache is None else side.ids[-1:]
        device = next(model.parameters()).device
        with self.bench.as_model(side.name):
            backbone, head = loading.parts(model)
            made = backbone(
                input_ids=torch.tensor([new], device=device),
                past_key_values=side.cache,
                use_cache=True,
            )
            token = int(head(made.last_hidden_state[0, -1]).float().argmax())
        side.cache = made.past_key_values
        if token in self.ends:
            side.finish_reason = "stop"
            return
        side.ids.append(token)
        if len(side.ids) >= self.most:
            side.finish_reason = "length"


def serve(playground: Playground, asked: TextIO, told: TextIO) -> None:
    """Answer line after line until the input ends."""

    def tell(event: Event) -> None:
        told.write(json.dumps(event) + "\n")
        told.flush()

    tell({"ready": True})
    for line in asked:
        try:
            for event in playground.answer(messages_of(line)):
                tell(event)
        except BrightRunError as error:
            tell({"error": error.as_dict()})
        except Exception as error:  # noqa: BLE001 a library's own, of any kind: the next may do
            shorter = failures.is_out_of_memory(error)
            fix = "ask something shorter" if shorter else "ask something else"
            tell({"error": {"message": failures.first_line(error), "fix": fix}})


def messages_of(line: str) -> list[Any]:
    """The messages of one request; UsageError for anything else."""
    try:
        messages = json.loads(line)["messages"]
        return [{"role": str(m["role"]), "content": str(m["content"])} for m in messages]
    except (ValueError, KeyError, TypeError):
        raise UsageError("this is no request: {messages: [{role, content}]} is expected") from None


def command(base: str, adapter: str, settings: str) -> int:
    """The process: load once, then answer until standard input ends; 1 when it cannot load."""
    told = sys.stdout
    sys.stdout = sys.stderr  # libraries print there: only events may stand on the pipe
    facts = json.loads(settings)
    values = Hyperparameters.model_validate(facts["values"])
    quiet()
    deterministic(int(facts["threads"]))
    try:
        loaded = loading.load_base(Path(base), values.precision)
        model = PeftModel.from_pretrained(loaded.model, adapter).eval()
        tokenizer = ChatTokenizer.load(Path(base))
    except Exception as error:  # noqa: BLE001 a library's own, of any kind
        known = failures.explain(error, values, "loading")
        told.write(json.dumps({"error": known.as_dict()}) + "\n")
        return 1
    nothing: Any = None
    bench = Bench(model, loaded.dtype, tokenizer, values, nothing, 0, nothing, nothing)
    serve(Playground(bench, values.max_new_tokens), sys.stdin, told)
    return 0
