"""The load that the project promises to bear, measured: `make load`; one JSON line a number.

    python tests/load.py [--only ledger,postgres,uploads,jobs] [--jobs 50] [--out FILE]

A part that is measured again replaces its lines. `python -m benches.tables` makes the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import load_drivers
import load_jobs
import load_ledger
import load_uploads
from load_results import Row

OUT = Path(__file__).resolve().parents[1] / ".brightrun/bench/load.jsonl"
PARTS = ("ledger", "postgres", "uploads", "drivers", "jobs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--jobs", type=int, default=50, help="at once")
    parser.add_argument("--history", type=int, default=10_000, help="jobs in the ledger")
    parser.add_argument("--metrics", type=int, default=1_000_000)
    parser.add_argument("--gb", type=int, default=10, help="of checkpoints")
    parser.add_argument("--first", action="store_true", help="the ledger's questions go first")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    size = (given.history, given.metrics)
    parts: dict[str, Callable[[], list[Row]]] = {
        "ledger": lambda: load_ledger.measure(*size, postgres=False, first=given.first),
        "postgres": lambda: load_ledger.measure(*size, postgres=True, first=given.first),
        "uploads": lambda: load_uploads.measure(given.gb, given.gb),
        "drivers": lambda: load_drivers.measure(given.jobs),
        "jobs": lambda: load_jobs.measure(given.jobs),
    }
    missed = 0
    for name in given.only.split(","):
        found = [{"bench": name, **one} for one in parts[name]()]
        keep(given.out, name, found)
        missed += sum(one["met"] is False for one in found)
        for one in found:
            print(json.dumps(one), flush=True)
    return 1 if missed else 0


def keep(out: Path, name: str, found: list[Row]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = out.read_text().splitlines() if out.exists() else []
    known = [one for line in lines if (one := json.loads(line))["bench"] != name]
    rank = {part: place for place, part in enumerate(PARTS)}
    every = sorted([*known, *found], key=lambda one: rank[one["bench"]])
    out.write_text("".join(json.dumps(one) + "\n" for one in every))


if __name__ == "__main__":
    sys.exit(main())
