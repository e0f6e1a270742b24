"""How well the first micro-steps forecast the rest: 12 configurations, CPU seconds, interleaved.

    python -m benches.calibration --out .brightrun/bench/calibration.jsonl

3 model sizes x 2 batch shapes x 2 precisions. Every round runs one micro-step of each
configuration, so that what else the machine does falls on all of them. The fit sees the first
rounds, as in a pod; errors are of later rounds. Now and then each runs one and the same
micro-step again: the standard error of the mean of the later repeats is what no forecast of the
later rounds can beat, and what they take over the earlier ones is the machine's drift, which no
forecast can know.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

SIZES = {"S": (192, 4), "M": (256, 6), "L": (384, 6)}  # hidden, layers
SHAPES = ("1 long", "4 short")
PRECISIONS = ("fp32", "nf4")
UNSEEN = 30
REPEATS = 10
VOCABULARY = 4096


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sizes", default="S,M,L", help="S alone is a quick look")
    parser.add_argument("--out", type=Path, default=Path(".brightrun/bench/calibration.jsonl"))
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(given.threads)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    from trainer import offline

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
    """One configuration and its CPU seconds: (lengths, seconds) in order, and of the repeats, each
    with its round."""

    size: str
    shape: str
    precision: str
    model: Any
    steps: list[tuple[list[int], float]] = field(default_factory=list)
    repeats: list[tuple[int, float]] = field(default_factory=list)

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
        fitted = calibrate.fit(sizes[calibrate.WARM_UP : seen], seconds[calibrate.WARM_UP : seen])
        later = list(zip(sizes[seen:], seconds[seen:], strict=True))
        forecast = fitted.forecast([size for size, _ in later])
        actual = sum(took for _, took in later)
        single = [abs(fitted.seconds(size) / took - 1) for size, took in later]
        again = [took for _, took in self.repeats]
        early = [took for at, took in self.repeats if at < seen]
        late = [took for at, took in self.repeats if at >= seen]
        return {
            "size": self.size,
            "shape": self.shape,
            "precision": self.precision,
            "error": round(forecast.likely / actual - 1, 4),
            "inside": forecast.low <= actual <= forecast.high,
            "median_step_error": round(statistics.median(single), 4),
            "worst_step_error": round(max(single), 4),
            "repeat_error": round(standard_error(late), 4),
            "repeat_spread": round((max(again) - min(again)) / statistics.median(again), 4),
            "drift": round(statistics.mean(late) / statistics.mean(early) - 1, 4),
            "warm_up": round(seconds[0] / fitted.seconds(sizes[0]), 3),
            "a": fitted.a,
            "b": fitted.b,
            "c": fitted.c,
            "spread": round(fitted.spread, 4),
            "cpu_s": round(sum(seconds) + sum(again), 2),
        }


def standard_error(seconds: list[float]) -> float:
    """Of their mean, relative to it: what chance alone leaves in a forecast of many steps."""
    return statistics.stdev(seconds) / math.sqrt(len(seconds)) / statistics.mean(seconds)


def measure(runs: list[Run], draw: random.Random) -> None:
    from trainer import calibrate

    rounds = calibrate.WARM_UP + calibrate.WANTED + UNSEEN
    again = {round(rounds * (k + 0.5) / REPEATS) for k in range(REPEATS)}
    for number in range(rounds):
        for run in runs:
            lengths = run.lengths(draw)
            run.steps.append((lengths, micro_step(run.model, lengths)))
            if number in again:
                run.repeats.append((number, micro_step(run.model, run.fixed())))


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

    from trainer import cpu, loading

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
