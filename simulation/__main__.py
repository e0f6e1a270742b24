"""Run it: `python -m simulation [--jobs 10000] [--sweep]`, or `make simulate`.

The last lines are one JSON object per scenario. Tables and plots go to --out; with --page the
tables between the marks of that page are replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from brightrun.jobs import Market
from simulation import page, sweeps
from simulation.plots import draw
from simulation.scenarios import Results, simulate
from simulation.world import SCENARIOS

SWEEP_SHARE = 5  # a sweep takes a fifth of the jobs for each of its settings


def main() -> None:
    """Parse, run, write, print."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="per scenario")
    parser.add_argument("--sweep", action="store_true", help="also vary policy and checkpoints")
    parser.add_argument("--out", type=Path, default=Path(".brightrun/simulation"))
    parser.add_argument("--page", type=Path, help="a page whose tables are to be replaced")
    chosen = parser.parse_args()
    began = time.process_time()
    results = [simulate(scenario, chosen.jobs) for scenario in SCENARIOS]
    lines = [{**found.line(), "spot_saves": saving(found)} for found in results]
    few = max(1, chosen.jobs // SWEEP_SHARE)
    policies = sweeps.policies(few) if chosen.sweep else []
    intervals = sweeps.intervals(few) if chosen.sweep else []
    draw(results, intervals, chosen.out)
    tables = page.tables(lines, policies, intervals)
    (chosen.out / "tables.md").write_text("\n\n".join(tables.values()), encoding="utf-8")
    if chosen.page:
        text = page.replaced(chosen.page.read_text(encoding="utf-8"), tables)
        chosen.page.write_text(text, encoding="utf-8")
    seconds = time.process_time() - began
    sys.stderr.write(f"{seconds:.0f} CPU seconds; plots and tables in {chosen.out}{os.sep}\n")
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (chosen.out / "results.jsonl").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def saving(found: Results) -> float:
    """What wishing for spot saves against wishing for on demand: the same jobs, a tenth of them."""
    few = max(1, len(found.ran) // 10)
    dear = simulate(found.scenario, few, wish=Market.on_demand)
    cheap = float(sum(r.cost for r in found.ran[:few]))
    return round(1 - cheap / dear.cost, 3)


if __name__ == "__main__":
    main()
