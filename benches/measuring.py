"""Measuring as the pod does it against the script that people write: the same numbers, CPU seconds.

    python -m benches.measuring --repeats 3

ours   trainer.measure.measure: one model load, its adapter off and on, answers in batches, what the
       options of a question share read once, the LM head only where a number is needed, rows stored
       item by item
naive  base model and adapter loaded separately, every item by itself, logits of the whole sequence
       through transformers' own forward and generate

As many items as in the preset `demo`, and the option texts, which only the others measure.
Both: SmolLM2 in fp32, a LoRA r16 adapter with seeded random weights, greedy answers, the same
threads, in processes of their own, in turn. Clocks start after the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benches.sample import FILES, ROOT
from brightrun.presets import PRESETS, Preset

NAMES = ("ours", "naive")
PARTS = ("load", "likelihood", "neutral", "knowledge", "option_text", "answers")


def arguments() -> argparse.Namespace:
    demo = PRESETS[Preset.demo].values
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", nargs="?", choices=(*NAMES, "adapter"), help="one, here")
    parser.add_argument("--place", type=Path, help="folder with adapter/ (of a contender)")
    parser.add_argument("--base-model", default="demo")
    parser.add_argument("--scenarios", type=int, default=demo.scenarios)
    parser.add_argument("--questions", type=int, default=demo.questions)
    parser.add_argument("--rotations", type=int, default=demo.rotations)
    parser.add_argument("--passages", type=int, default=8)
    parser.add_argument("--held-out", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=demo.max_new_tokens)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(".brightrun/bench/measuring.jsonl"))
    return parser.parse_args()


def main() -> int:
    """Exit status 0; every run is a line of --out."""
    given = arguments()
    if given.contender:
        return run_here(given)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="brightrun-bench-") as place:
        process("adapter", Path(place))
        for repeat in range(given.repeats):
            found = {}
            for name in NAMES if repeat % 2 == 0 else reversed(NAMES):
                found[name] = process(name, Path(place))
            agreement = compared(found["ours"].pop("numbers"), found["naive"].pop("numbers"))
            for name in NAMES:
                row = {**found[name], **agreement, "repeat": repeat}
                with given.out.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                print(json.dumps({k: row[k] for k in ("contender", "cpu_s", "parts")}), flush=True)
    return 0


def process(name: str, place: Path) -> dict[str, Any]:
    """A contender's last line, from a process of its own."""
    command = [sys.executable, "-m", "benches.measuring", name, "--place", str(place)]
    done = subprocess.run(
        [*command, *sys.argv[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compared(ours: dict[str, Any], naive: dict[str, Any]) -> dict[str, Any]:
    """How far both agree: answers word for word, logarithms of probabilities in nats."""
    texts = [ours["answers"][key] == naive["answers"][key] for key in naive["answers"]]
    apart = [
        abs(a - b)
        for kind in ("likelihood", "neutral", "knowledge", "option_text")
        for key in naive[kind]
        for a, b in zip(ours[kind][key], naive[kind][key], strict=True)
    ]
    return {"answers": len(texts), "answers_equal": sum(texts), "most_nats_apart": max(apart)}


def run_here(given: argparse.Namespace) -> int:
    """One contender in this process; its result is the last line of stdout."""
    from trainer import offline, threads

    threads.settle(os.environ, given.threads)
    offline.apply()
    import torch

    from benches import measurers
    from trainer import hardware
    from trainer.libraries import quiet

    quiet()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    task = measurers.task_of(given, FILES["example"])
    if given.contender == "adapter":
        measurers.save_adapter(task, given.place / "adapter")
        print("{}")
        return 0
    clock = measurers.Clock()
    numbers = measurers.CONTENDERS[given.contender](task, given.place / "adapter", clock)
    result = {
        "contender": given.contender,
        "cpu_s": round(sum(clock.cpu.values()), 2),
        "wall_s": round(sum(clock.wall.values()), 2),
        "parts": {name: round(clock.cpu[name], 2) for name in PARTS},
        "peak_mb": hardware.peak_memory_mb(),
        "scenarios": given.scenarios, "questions": given.questions, "held_out": given.held_out,
        "passages": given.passages, "rotations": given.rotations,
        "max_new_tokens": given.max_new_tokens,
        "threads": given.threads, "base_model": given.base_model, "cpu": hardware.cpu_name(),
        "versions": hardware.versions(), "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": round(os.getloadavg()[0], 2), "numbers": numbers,
    }  # fmt: skip
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
