"""Checkpoint stall (writing, and waiting for the storage), and a killed pod's way back, from the
events of real jobs.

    python -m benches.recovery --base-model tiny --interrupt-at 5

The preset `demo` on the first conversations of the example file, with the global batch of the
real presets, four passes and the shortest possible measuring: 12 steps with a checkpoint after
each. Three jobs, some four minutes each with SmolLM2 on two cores.

The job runs through the command line in a state folder of its own. The kill is a SIGKILL of the pod
by itself after a step, so its last event tells the moment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benches.sample import ROOT, part_of_example
from brightrun.ledger import Ledger
from brightrun.restarts import restarts
from brightrun.settings import Settings, load

# Optimizer steps as large as the real presets'.
SHORT = (
    "pairs_per_step=16", "epochs=4", "scenarios=1", "questions=1", "max_new_tokens=8",
    "eval_points=1", "validation_share=0.15",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-model", default="demo")
    parser.add_argument("--interrupt-at", default="5")
    parser.add_argument("--conversations", type=int, default=18)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="as in brightrun train")
    parser.add_argument("--out", type=Path, default=Path(".brightrun/bench/recovery.jsonl"))
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(given.repeats):
        found = {"base_model": given.base_model, **once(given)}
        found["load_average"] = round(os.getloadavg()[0], 2)
        with given.out.open("a") as out:
            out.write(json.dumps(found) + "\n")
        print(json.dumps(found, indent=1), flush=True)
    return 0


def once(given: argparse.Namespace) -> dict[str, Any]:
    """What one job in a state folder of its own has shown."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        home.mkdir()
        shutil.copytree(load().models, home / "models", symlinks=True)
        file = Path(place) / "beginning.json"
        file.write_text(part_of_example(given.conversations))
        job_id = run(home, file, given)
        return result(Settings(home=home), job_id)


def run(home: Path, file: Path, given: argparse.Namespace) -> str:
    """The finished job's id."""
    sets = [part for value in (*SHORT, *given.set) for part in ("--set", value)]
    command = [
        sys.executable, "-m", "flows.cli", "train", str(file), "--preset",
        "demo", "--base-model", given.base_model, "--interrupt-at", given.interrupt_at, *sets,
        "--yes", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "BRIGHTRUN_HOME": str(home)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"the job failed:\n{done.stderr[-3000:]}")
    print("\n".join(line for line in done.stderr.splitlines() if "revised" in line)[:2000])
    return str(json.loads(done.stdout)["job_id"])


def result(settings: Settings, job_id: str) -> dict[str, Any]:
    ledger = Ledger.open(settings)
    events = ledger.events(job_id)
    launched = {row.number: row.launched_at for row in ledger.attempts(job_id)}
    saved = [e.payload for e in events if e.type == "checkpoint"]
    steps = [e.payload for e in events if e.type == "metric" and "loss" in e.payload]
    # Each step tells what writing, and waiting for the storage, took since the one before it.
    stalled = sum(float(said["parts_s"]["checkpoint"]) for said in steps)
    last = max(steps, key=lambda said: int(said["step"]))
    stalled += sum(float(said["stalled_s"]) for said in saved if said["step"] == last["step"])
    trained = sum(float(said["seconds"]) for said in steps)
    forecasts = [e for e in events if e.payload.get("what") == "calibrated"]
    after = [
        float(e.payload["seconds"])
        for e in events
        for known in forecasts[-1:]
        if e.type == "metric" and "loss" in e.payload and e.attempt == known.attempt
        and e.payload["step"] > known.payload["step"]
    ]  # fmt: skip
    return {
        "checkpoints": len(saved),
        "checkpoint_bytes": max((int(said["bytes"]) for said in saved), default=0),
        "stalled_s": round(stalled, 3),
        "steps_s": round(trained, 3),
        "stall_share": round(stalled / (stalled + trained), 4) if trained else None,
        "restarts": [r.model_dump() for r in restarts(events, launched)],
        "forecast_s": forecasts[-1].payload["training_s"] if forecasts else None,
        "steps_after_forecast_s": round(sum(after), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
