"""LLaMA-Factory as a contender, in an environment of its own (`make bench-peer` makes it).

    python -m benches.contender llamafactory --conversations 6 --held-out 3 --seed 1

It gets the same conversations as ShareGPT data and the same adapter, batch, learning rate,
schedule and clipping; all else is as shipped (its chat template, masks, gradient checkpointing,
data order, logging). Its adapter is measured here, by the same code as everybody's.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.sample import ROOT, Material
from brightrun.jobs import JobSpec

DATASET = {
    "bench": {
        "file_name": "bench.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
}
LONGEST = 100_000
PEER = ROOT / ".brightrun" / "bench" / "peer"


def interpreter() -> Path:
    """Python of the peer's environment (absolute; a link into it, so it is not resolved)."""
    return PEER / "bin" / "python"


def is_installed() -> bool:
    """Whether `make bench-peer` came to its end."""
    return (PEER / ".installed").exists()


@dataclass(frozen=True, slots=True)
class Ran:
    """adapter: a folder; steps: (wall, CPU) seconds after each optimizer step."""

    adapter: Path
    steps: list[tuple[float, float]]
    peak_mb: int


def train(found: Material, spec: JobSpec, steps: int, place: Path) -> Ran:
    """Train in the peer's own process. SystemExit with its last words when it fails."""
    write(found, place)
    work = place / "work.json"
    clock = place / "clock.json"
    said = {"arguments": arguments(found, spec, steps, place), "threads": spec.threads}
    work.write_text(json.dumps({**said, "clock": str(clock)}), encoding="utf-8")
    done = subprocess.run(
        [str(interpreter()), "-P", str(ROOT / "benches" / "peer_side.py"), str(work)],
        cwd=place,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "DISABLE_VERSION_CHECK": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"LLaMA-Factory failed:\n{done.stderr[-3000:]}")
    read = json.loads(clock.read_text(encoding="utf-8"))
    clocks = [(wall, cpu) for wall, cpu in read["steps"]]
    return Ran(place / "adapter", clocks, read["peak_mb"])


def write(found: Material, place: Path) -> None:
    """The training conversations, each cut after its last answer, as ours are."""
    rows = [{"messages": answered(row["messages"])} for row in found.training]
    (place / "bench.json").write_text(json.dumps(rows), encoding="utf-8")
    (place / "dataset_info.json").write_text(json.dumps(DATASET), encoding="utf-8")


def answered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the client's last words when nobody answered them."""
    return messages if messages[-1]["role"] == "assistant" else messages[:-1]


def arguments(found: Material, spec: JobSpec, steps: int, place: Path) -> dict[str, Any]:
    values = spec.values
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": str(found.folder),
        "template": "chatml",
        "dataset": "bench",
        "dataset_dir": str(place),
        "cutoff_len": LONGEST,
        "finetuning_type": "lora",
        "lora_rank": values.lora_r,
        "lora_alpha": values.lora_alpha,
        "lora_dropout": values.lora_dropout,
        "lora_target": ",".join(sorted(spec.target_modules)),
        "output_dir": str(place / "adapter"),
        "num_train_epochs": values.epochs,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": spec.conversations_per_step,
        "learning_rate": values.learning_rate,
        "lr_scheduler_type": spec.scheduler,
        "warmup_steps": math.ceil(steps * spec.warmup_ratio),
        "max_grad_norm": spec.max_grad_norm,
        "seed": values.seed,
        "bf16": False,
        "fp16": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "preprocessing_num_workers": 1,
    }
