"""One contender, one run, in a process of its own; prints one JSON line.

    python -m benches.contender ours --file eq12 --conversations 6 --held-out 3 --seed 1

ours              trainer.train.train: the pod's own training loop, without the run folder's events
ours-bf16         the same with the base model in bf16, where a CPU multiplies that in hardware
bare              a plain PyTorch loop over the same micro-batches, PEFT's layers, labelled head
trl-conversation  TRL's SFTTrainer as shipped, our sequences and labels
trl-pair          the same with one sequence per pair: the recipe that users write
llamafactory      LLaMA-Factory as shipped on our conversations, see benches.peer; it computes in
                  the number format of the model's files (SmolLM2: bf16): compare it with ours-bf16

All others: SmolLM2 in fp32, LoRA r16 on all seven projections, the same
pairs per optimizer step, learning rate, schedule, clipping, and order by seed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brightrun.jobs import Hyperparameters

NAMES = ("ours", "ours-bf16", "bare", "trl-conversation", "trl-pair", "llamafactory")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--file", default="example", help="example, eq12 or a path")
    parser.add_argument("--base-model", default="demo")
    parser.add_argument("--conversations", type=int, default=6)
    parser.add_argument("--held-out", type=int, default=3)
    parser.add_argument("--longest", type=int, default=0, help="tokens of a conversation; 0: any")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--pairs-per-step", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--at-cpu", type=float, help="look at the perplexity after these seconds")
    parser.add_argument("--models", type=Path, help="folder of prepared models")
    return parser.parse_args()


def main() -> int:
    """Exit status 0; the result is the last line of stdout."""
    given = arguments()
    from trainer import offline, threads

    threads.settle(os.environ, given.threads)
    offline.apply()
    from benches.sample import FILES, material
    from brightrun import basemodels
    from brightrun.jobs import Hyperparameters
    from brightrun.settings import load

    file = FILES.get(given.file) or Path(given.file)
    models = given.models or load().models
    found = material(
        file, models, given.base_model, given.conversations, given.held_out, given.longest
    )
    values = Hyperparameters(
        epochs=given.epochs,
        pairs_per_step=given.pairs_per_step,
        seed=given.seed,
        precision="bf16" if given.name == "ours-bf16" else "fp32",
        sequence="pair" if given.name == "trl-pair" else "conversation",
    )
    import torch
    from transformers.utils.logging import disable_progress_bar

    from benches.loops import LOOPS, Race
    from benches.meter import Meter, mean_nll
    from trainer import data, hardware, loading

    disable_progress_bar()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    spec = found.spec(values, given.threads)
    samples = found.sequences(values.sequence)
    names = [sample.sample_id for sample in samples]
    plan = data.steps(values.seed, values.epochs, spec.conversations_per_step, names)
    longest = max(len(sample.ids) for sample in samples)
    profile = basemodels.profile(found.folder)
    place = hardware.place()
    made = loading.decide(place, found.folder, profile, values, longest, spec.optimizer, {})
    base = loading.load_base(found.folder, values.precision, made)
    # The base model is the same for all.
    before = mean_nll(base.model, found.held_out) if given.name == "ours" else None
    loaded = hardware.memory_mb()
    with tempfile.TemporaryDirectory() as scratch:
        race = Race(spec, samples, plan, base, found.held_out, Path(scratch), found)
        race.meter = Meter(given.at_cpu, lambda: mean_nll(race.model, found.held_out))
        LOOPS[given.name.removesuffix("-bf16")](race)
    wall, cpu = race.meter.steps[-1]
    race.model.float()  # whatever trained it: all are judged in fp32
    after = mean_nll(race.model, found.held_out)
    ours = given.name == "ours"
    formula = formula_mb(profile, values, longest, place.memory_gb) if ours else None
    result: dict[str, Any] = {
        "contender": given.name,
        "file": file.name,
        "seed": given.seed,
        "conversations": given.conversations,
        "held_out": given.held_out,
        "epochs": given.epochs,
        "threads": given.threads,
        "sequences": len(samples),
        "steps": len(plan),
        "tokens_per_epoch": sum(len(sample.ids) for sample in samples),
        "supervised_tokens": sum(sample.supervised for sample in samples),
        "longest": longest,
        "longest_taken": given.longest,
        "recomputed_above": race.limit,
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "step_cpu_s": [round(seconds, 3) for seconds in race.meter.per_step()],
        "perplexity_before": before and round(math.exp(before), 4),
        "perplexity": round(math.exp(after), 4),
        "perplexity_at_cpu": race.meter.seen and round(math.exp(race.meter.seen), 4),
        "at_cpu_s": given.at_cpu,
        "steps_at_cpu": race.meter.seen_after,
        "loaded_mb": loaded,
        "peak_mb": race.peak_mb or hardware.peak_memory_mb(),
        "formula_mb": formula,
        "load_average": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(result))
    return 0


def formula_mb(
    profile: Mapping[str, Any], values: Hyperparameters, longest: int, free_gb: float
) -> int:
    """Highest memory in MB that an estimate tells of such a job on a CPU."""
    from brightrun.footprint import peak_gb
    from brightrun.physics import Machine, ModelProfile
    from brightrun.prices import CPU

    need = peak_gb(
        ModelProfile.of_prepared(profile), Machine(CPU, memory_gb=free_gb),
        precision=values.precision, lora_r=values.lora_r, longest=longest, micro_batch=1,
        may_recompute=values.gradient_checkpointing,
    )  # fmt: skip
    return round(1000 * need)


if __name__ == "__main__":
    sys.exit(main())
