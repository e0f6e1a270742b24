"""How well the first micro-steps forecast the rest: 12 configurations, CPU seconds, interleaved.

    python -m benches.calibration --out .brightrun/bench/calibration.jsonl

3 model sizes x 2 batch shapes x 2 precisions. Every round runs two micro-steps of each
configuration, one of changing and one of always the same lengths, so that what else the machine
does falls on all of them. Two forecasts of micro-steps that the fit has not seen:

first rounds  the fit sees the first rounds and forecasts the later ones, as in a pod. The mean of
              the identical micro-steps of the same rounds forecasts theirs: what that misses is the
              machine's drift and chance, which no model of time can know.
interleaved   the fit sees as many rounds, spread over the run, and forecasts all others: without
              most of the drift, so the error is that of the model of time.

About three minutes on two free cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

SIZES = {"S": (192, 4), "M": (256, 6), "L": (384, 6)}  # hidden, layers
SHAPES = ("1 long", "4 short")
PRECISIONS = ("fp32", "nf4")
UNSEEN = 30
APART = 4  # of the interleaved fit's rounds: every so manyth is seen
VOCABULARY = 4096


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sizes", default="S,M,L", help="S alone is a quick look")
    parser.add_argument("--out", type=Path, default=Path(".brightrun/bench/calibration.jsonl"))
    given = parser.parse_args()
    from trainer import offline, threads

    threads.settle(os.environ, given.threads)
    offline.apply()
    import torch

    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    with tempfile.TemporaryDirectory() as place:
        made = product(given.sizes.split(","), SHAPES, PRECISIONS)
        runs = [Run(*which, load(Path(place), which[0], which[2])) for which in made]
    measure(runs, random.Random(given.seed))  # noqa: S311
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("a") as out:
        for run in runs:
            result = {**run.result(), "threads": given.threads, "at": datetime.now(UTC).isoformat()}
            result["load_average"] = round(os.getloadavg()[0], 2)
            out.write(json.dumps(result) + "\n")
            print(json.dumps(result))
    return 0


@dataclass
class Run:
    """One configuration and its CPU seconds by round: (lengths, seconds), and of the repeats."""

    size: str
    shape: str
    precision: str
    model: Any
    steps: list[tuple[list[int], float]] = field(default_factory=list)
    repeats: list[float] = field(default_factory=list)

    def lengths(self, draw: random.Random) -> list[int]:
        if self.shape == "1 long":
            return [draw.randint(100, 500)]
        return [draw.randint(30, 120) for _ in range(4)]

    def fixed(self) -> list[int]:
        return [300] if self.shape == "1 long" else [80, 70, 60, 50]

    def result(self) -> dict[str, Any]:
        from trainer import calibrate

        seen = calibrate.WARM_UP + calibrate.WANTED
        sizes = [calibrate.Size.of(lengths) for lengths, _ in self.steps]
        seconds = [took for _, took in self.steps]
        first = range(calibrate.WARM_UP, seen)
        fitted = calibrate.fit([sizes[at] for at in first], [seconds[at] for at in first])
        later = list(zip(sizes[seen:], seconds[seen:], strict=True))
        forecast = fitted.forecast([size for size, _ in later], "cpu")
        actual = sum(took for _, took in later)
        single = [abs(fitted.seconds(size) / took - 1) for size, took in later]
        spread_out = list(range(calibrate.WARM_UP, len(sizes), APART))[: calibrate.WANTED]
        again = self.repeats
        return {
            "size": self.size,
            "shape": self.shape,
            "precision": self.precision,
            "error": round(forecast.likely / actual - 1, 4),
            "inside": forecast.low <= actual <= forecast.high,
            "repeat_error": round(mean(again[first.start : seen]) / mean(again[seen:]) - 1, 4),
            "interleaved_error": round(unseen_error(sizes, seconds, spread_out), 4),
            "interleaved_repeat_error": round(unseen_mean(again, spread_out), 4),
            "median_step_error": round(statistics.median(single), 4),
            "worst_step_error": round(max(single), 4),
            "repeat_spread": round(statistics.stdev(again[1:]) / mean(again[1:]), 4),
            "warm_up": round(seconds[0] / fitted.seconds(sizes[0]), 3),
            "a": fitted.a,
            "b": fitted.b,
            "c": fitted.c,
            "spread": round(fitted.spread, 4),
            "cpu_s": round(sum(seconds) + sum(again), 2),
        }


def unseen_error(sizes: Sequence[Any], seconds: Sequence[float], seen: Sequence[int]) -> float:
    """Of a fit to the micro-steps `seen`: forecast over actual seconds of all others but the
    warm-up, less 1."""
    from trainer import calibrate

    fitted = calibrate.fit([sizes[at] for at in seen], [seconds[at] for at in seen])
    others = others_than(seen, len(sizes))
    likely = fitted.forecast([sizes[at] for at in others], "cpu").likely
    return likely / sum(seconds[at] for at in others) - 1


def unseen_mean(seconds: Sequence[float], seen: Sequence[int]) -> float:
    """The same for identical micro-steps, forecast by their mean."""
    others = others_than(seen, len(seconds))
    return mean([seconds[at] for at in seen]) / mean([seconds[at] for at in others]) - 1


def others_than(seen: Sequence[int], rounds: int) -> list[int]:
    """The rounds that are neither seen nor the warm-up."""
    from trainer import calibrate

    return [at for at in range(calibrate.WARM_UP, rounds) if at not in seen]


def measure(runs: list[Run], draw: random.Random) -> None:
    from trainer import calibrate

    for _ in range(calibrate.WARM_UP + calibrate.WANTED + UNSEEN):
        for run in runs:
            lengths = run.lengths(draw)
            run.steps.append((lengths, micro_step(run.model, lengths)))
            run.repeats.append(micro_step(run.model, run.fixed()))


def micro_step(model: Any, lengths: list[int]) -> float:
    """CPU seconds of the trainer's forward and backward pass; two thirds are labelled."""
    import torch

    from trainer import loading, loss

    ids = torch.randint(3, VOCABULARY, (len(lengths), max(lengths)))
    labels = ids.clone()
    labels[:, : ids.shape[1] // 3] = loss.IGNORED
    for row, length in enumerate(lengths):
        labels[row, length:] = loss.IGNORED
    backbone, head = loading.parts(model)
    begun = time.process_time()
    hidden = backbone(input_ids=ids, use_cache=False).last_hidden_state
    states, targets = loss.labelled(hidden, labels)
    torch.autograd.backward(loss.summed_nll(states, head, targets) / len(targets))
    return time.process_time() - begun


def load(place: Path, size: str, precision: str) -> Any:
    """A generated Llama with LoRA as the trainer loads it. NF4 is unpacked at every use: the path
    of a machine without room for unpacked copies, and the one where the precision costs time."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from trainer import cpu, dropout, loading

    hidden, layers = SIZES[size]
    folder = place / size
    if not folder.exists():
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=hidden * 3,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 128,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
        )
        model = LlamaForCausalLM(config)
        model.save_pretrained(folder)
        (folder / "prepared.json").write_text(json.dumps(profile(size, model.num_parameters())))
    base = loading.load_base(folder, precision)  # type: ignore[arg-type]
    for layer in loading.quantised_layers(base.model).values():
        if "dense_weight" in vars(layer):
            del layer.dense_weight, layer.forward
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=targets)
    model = get_peft_model(base.model, lora)
    dropout.install(model, 1)
    cpu.fuse_lora(model)
    model.train()
    return model


def profile(size: str, parameters: int) -> dict[str, Any]:
    """What `prepare` would have written about such a model."""
    hidden, layers = SIZES[size]
    shape = {
        "hidden_size": hidden,
        "layers": layers,
        "intermediate_size": hidden * 3,
        "heads": hidden // 64,
        "kv_heads": hidden // 128,
        "vocab": VOCABULARY,
    }
    return {
        "name": size,
        "public_name": size,
        "context": 2048,
        "template": "chatml",
        "parameters": parameters,
        "architecture": shape,
    }


if __name__ == "__main__":
    sys.exit(main())
