"""Runs inside LLaMA-Factory's own environment: `python peer_side.py WORK.json`.

WORK.json: {"arguments": of LLaMA-Factory, "threads": int, "clock": where the result goes}.
Its loop is left as shipped; a callback reads both clocks after every optimizer step.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

# It imports torchaudio also for text, and there is no CPU build that fits this torch.
silence = ModuleType("torchaudio")
silence.__spec__ = ModuleSpec("torchaudio", None)
sys.modules["torchaudio"] = silence

import torch  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402
from transformers import TrainerCallback  # noqa: E402


class Clock(TrainerCallback):  # type: ignore[misc]
    """(wall, CPU) seconds since the first step began, one pair for each step."""

    def __init__(self) -> None:
        self.begun = (0.0, 0.0)
        self.steps: list[tuple[float, float]] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.begun = (time.perf_counter(), time.process_time())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        wall, cpu = self.begun
        self.steps.append((time.perf_counter() - wall, time.process_time() - cpu))


def main() -> None:
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(work["threads"])
    clock = Clock()
    run_exp(work["arguments"], callbacks=[clock])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 1_000_000
    said = {"steps": clock.steps, "peak_mb": peak}
    Path(work["clock"]).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
