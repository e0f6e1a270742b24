"""How far estimates of real jobs on this machine are off: jobs of several sizes, the backtest.

    python -m benches.history --home FOLDER [--base-model tiny] [--jobs 10] [--set scenarios=4 ...]

Each job trains other conversations of the example file, in other numbers; one JSON line a job, then
what `brightrun estimate --backtest --json` says, and its errors in CPU seconds at one pace: what
else runs makes the same work take more of them. A home that has jobs already goes on with them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benches.sample import part_of_example
from brightrun.backtest import errors_of
from brightrun.ledger import Ledger
from brightrun.replay import Past, replayed
from brightrun.settings import Settings

# Conversations and epochs of a job: neither grows with its number.
SIZES = ((12, 1), (24, 1), (8, 1), (16, 2), (10, 2), (20, 1), (14, 1), (22, 2), (9, 1), (18, 1))


def brightrun(home: Path, *words: str) -> dict[str, Any]:
    """The command's JSON object; what it says beside it goes to our stderr."""
    command = [sys.executable, "-m", "flows.cli", *words, "--json"]
    environment = {**os.environ, "BRIGHTRUN_HOME": str(home)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def at_one_pace(jobs: Iterable[Past]) -> dict[str, Any]:
    """Errors of all but finalization, each job's CPU seconds divided by those of its finalization,
    which is the same work in every job here: what of the errors is the estimator's, and how far the
    pace went apart.
    """
    paced, paces = [], []
    for job in jobs:
        pace = next((p.cpu_seconds for p in job.parts if p.name == "finalization"), None)
        if pace:
            rest = (p for p in job.parts if p.name != "finalization")
            parts = (p._replace(cpu_seconds=(p.cpu_seconds or 0.0) / pace) for p in rest)
            paced.append(job._replace(parts=tuple(parts)))
            paces.append(pace)
    told = replayed(paced, "cpu")
    found = errors_of([abs(t.estimate.likely / t.actual - 1) for t in told if t.estimate])
    spread = {"least": min(paces), "median": median(paces), "most": max(paces)} if paces else {}
    return {**found.model_dump(), "finalization_cpu_s": spread}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--base-model", default="tiny")
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True)
    begun = len(brightrun(options.home, "jobs", "--limit", "1000")["jobs"])
    for number in range(begun, begun + options.jobs):
        count, epochs = SIZES[number % len(SIZES)]
        file = options.home / f"part-{number:03}.json"
        file.write_text(part_of_example(count, 5 * number), "utf-8")
        sets = [word for one in (f"epochs={epochs}", *options.set) for word in ("--set", one)]
        job = brightrun(
            options.home, "train", str(file), "--preset", "demo", "--base-model",
            options.base_model, *sets, "--yes",
        )  # fmt: skip
        load = round(os.getloadavg()[0], 1)
        told = {"job": job["job_id"], "conversations": count, "epochs": epochs, "load": load}
        print(json.dumps(told), flush=True)
    told = brightrun(options.home, "estimate", "--backtest")
    ledger = Ledger.open(Settings(home=options.home))
    print(json.dumps({**told, "at_one_pace": at_one_pace(ledger.observed_jobs())}))


if __name__ == "__main__":
    main()
