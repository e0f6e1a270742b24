"""Run all contenders in turn, each in its own process, and keep every result as a JSON line.

    python -m benches.training --conversations 6 --held-out 3 --seeds 1,2,3
    python -m benches.training --conversations 2 --held-out 1 --seeds 1 --base-model tiny  # quick

Interleaved: one repeat is ours, ours in bf16 where the CPU has that, bare, TRL per conversation,
TRL per pair, LLaMA-Factory where it is installed, then the next seed.
TRL's runs also look at their perplexity once they have used as much CPU time as ours did.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benches import peer
from benches.contender import NAMES
from benches.sample import ROOT
from brightrun import speed

PASSED = ("file", "base_model", "conversations", "held_out", "epochs", "pairs_per_step", "threads",
          "longest")  # fmt: skip
VERSIONS = ("torch", "transformers", "trl", "peft", "bitsandbytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", default="example", help="example, eq12 or a path")
    parser.add_argument("--base-model", default="demo")
    parser.add_argument("--conversations", default="6")
    parser.add_argument("--held-out", default="3")
    parser.add_argument("--longest", default="", help="only conversations up to so many tokens")
    parser.add_argument("--epochs", default="1")
    parser.add_argument("--pairs-per-step", default="4")
    parser.add_argument("--threads", default="")
    parser.add_argument("--seeds", default="1,2,3", help="one repeat for each; 1,2,1 is three")
    parser.add_argument("--only", default=",".join(NAMES))
    parser.add_argument("--out", type=Path, default=Path(".brightrun/bench/training.jsonl"))
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    common = [part for key in PASSED if getattr(given, key) for part in option(given, key)]
    names = given.only.split(",")
    if "llamafactory" in names and not peer.is_installed():
        print("llamafactory: not raced, not installed (`make bench-peer` does it)", flush=True)
        names.remove("llamafactory")
    if "ours-bf16" in names and not speed.native_bf16():
        print("ours-bf16: not raced, this CPU does not multiply bf16 in hardware", flush=True)
        names.remove("ours-bf16")
    for seed in given.seeds.split(","):
        at_cpu: float | None = None
        for name in names:
            more = ["--at-cpu", str(at_cpu)] if at_cpu and name.startswith("trl") else []
            found = run([name, "--seed", seed, *common, *more])
            if name == "ours":
                at_cpu = found["cpu_s"]
            with given.out.open("a") as out:
                out.write(json.dumps({**found, **circumstances()}) + "\n")
            print(f"{name:17} seed {seed}: {found['cpu_s']:.1f} CPU s, {found['wall_s']:.1f} s, "
                  f"perplexity {found['perplexity']:.3f}, peak {found['peak_mb']} MB",
                  flush=True)  # fmt: skip
    return 0


def option(given: argparse.Namespace, key: str) -> list[str]:
    return [f"--{key.replace('_', '-')}", getattr(given, key)]


def run(parts: list[str]) -> dict[str, Any]:
    """The last line of a contender's output; its error ends the bench."""
    command = [sys.executable, "-W", "ignore", "-m", "benches.contender", *parts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(parts)} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def circumstances() -> dict[str, Any]:
    from trainer import hardware

    return {
        "at": datetime.now(UTC).isoformat(),
        "cpu": hardware.cpu_name(),
        "versions": {name: metadata.version(name) for name in VERSIONS},
    }


if __name__ == "__main__":
    sys.exit(main())
