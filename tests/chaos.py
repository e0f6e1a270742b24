"""Jobs at an account where everything goes wrong, many of them, each from a seed.

    python tests/chaos.py --runs 200 --seed 1          or: make chaos N=200 SEED=1

One line per run; the last line is one JSON object. Exit status 1 names the seeds of violations: a
single one is replayed by `make chaos N=1 SEED=...`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from chaos_flow import first_victim, run_whole
from chaos_judge import Result
from chaos_run import run, template
from chaos_schedule import draw
from trainer_jobs import tiny_models


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the others follow")
    parser.add_argument(
        "--whole-every", type=int, default=50, help="so many seeds: the whole flow (0: never)"
    )
    parser.add_argument("--workers", type=int, default=2, help="runs side by side")
    parser.add_argument("--keep", type=Path, help="a folder for the homes of the runs")
    parser.add_argument("--verbose", action="store_true", help="schedules and faults too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="brightrun-chaos-") as scratch:
        place = given.keep or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        made = template(place)
        seeds = range(given.seed, given.seed + given.runs)
        results = []
        with ProcessPoolExecutor(given.workers) as pool:
            for result in pool.map(partial(one, place, made, given.whole_every), seeds):
                results.append(result)
                print(line(result, given.verbose), flush=True)
    print(json.dumps(summary(results)))
    return 1 if any(result.violations for result in results) else 0


def one(place: Path, made: Path, whole_every: int, seed: int) -> Result:
    """A run; a fault of the chaos itself is a violation too, and ends none of the others."""
    try:
        if whole_every and seed % whole_every == 0:
            first = first_victim(seed, whole_every)
            return run_whole(seed, place, tiny_models(), first)
        return run(draw(seed), place, made)
    except Exception:  # noqa: BLE001 told with its seed
        return Result(seed, "broken", violations=[traceback.format_exc()[-800:]])


def line(result: Result, verbose: bool) -> str:
    if verbose:
        return json.dumps({**result.as_json(), "schedule": draw(result.seed).as_json()})
    said = "; ".join(result.violations) or "ok"
    how = "whole flow" if result.whole else "driver"
    return (
        f"seed {result.seed}, {how}: {result.status} after {result.attempts} attempts, "
        f"{result.faults.total()} faults, {result.seconds:.1f} s: {said}"
    )


def summary(results: list[Result]) -> dict[str, Any]:
    """The last line."""
    faults: Counter[str] = sum((result.faults for result in results), Counter())
    difference = sum((r.ledger_usd - r.bill_usd for r in results), Decimal(0))
    return {
        "runs": len(results),
        "faults_injected": faults.total(),
        "completed": sum(result.status == "completed" for result in results),
        "stopped": sum(result.status != "completed" for result in results),
        "leaked": sum(result.leaked for result in results),
        "double_billed": sum(result.double_billed for result in results),
        "ledger_minus_bill_usd": round(float(difference), 6),
        "apart_before_the_bill_usd": round(float(sum(abs(r.apart_usd) for r in results)), 6),
        "most_apart_of_a_run_usd": round(float(max(abs(r.apart_usd) for r in results)), 6),
        "driver_runs": sum(not result.whole for result in results),
        "whole_flow_runs": sum(result.whole for result in results),
        "pods_of_unlearned_id": sum(result.unlearned for result in results),
        "violations": [result.seed for result in results if result.violations],
        "faults": dict(sorted(faults.items())),
    }


if __name__ == "__main__":
    sys.exit(main())
