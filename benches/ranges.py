"""How often made-up jobs lie inside their range, and how often their hard limit would stop one.

    python -m benches.ranges

Each job is estimated from the ones before it alone; one JSON line a history. inside: between low
and high once nine whole jobs are known, in_sums: between the sums of the parts' bounds; over: above
1.25 x high, stopped: above the hard limit, both of all jobs that had a history.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from benches import year
from brightrun.costrange import HEADROOM
from brightrun.ledger import Ledger
from brightrun.replay import Key, Part, Past, replayed
from brightrun.settings import Settings

H100: Key = ("H100 80GB PCIe", "llama-3-70b", "nf4")
JOBS = 3000
# How far (log-normal) a job's parts are slow together, and each by itself (exponential).
DEPENDING = ((0.0, 0.05), (0.08, 0.0), (0.05, 0.05), (0.0, 0.4))


def rented(chance: random.Random, number: int) -> Past:
    """A job on a rented GPU: t = a + b x tokens, 4 % of noise; physics is 30 % off."""
    tokens = chance.uniform(3e5, 3e6)
    seconds = (900 + 1.1e-3 * tokens) * math.exp(chance.gauss(0, 0.04))
    load_s = 240 * math.exp(chance.gauss(0, 0.08))
    parts = (
        Part(name="training", units=tokens, seconds=seconds, guess=1.4e-3 * tokens),
        Part(name="model_loading", units=1.0, seconds=load_s, guess=141.0),
    )
    return Past(f"j{number}", H100, parts)


def history_of(chance: random.Random, jobs: int, together: float, alone: float) -> list[Past]:
    """Jobs of two parts, which are slow together (log-normal), and each by itself (a skewed
    delay: exponential, never negative)."""
    found = []
    for number in range(jobs):
        slow, parts = math.exp(chance.gauss(0, together)), []
        for name, rate in (("training", 1.0), ("measuring", 0.6)):
            units = chance.uniform(200, 2000)
            seconds = units * rate * slow * (1 + chance.expovariate(1) * alone)
            parts.append(Part(name, units, seconds))
        found.append(Past(f"j{number}", H100, tuple(parts)))
    return found


def counted(jobs: Iterable[Past]) -> dict[str, float]:
    """Shares; `n_settled` jobs for the first two, `n` for the others."""
    told = [(job.actual, job.estimate) for job in replayed(jobs) if job.estimate is not None]
    settled = [(actual, found) for actual, found in told if found.settled]
    inside = sum(found.low <= actual <= found.high for actual, found in settled)
    sums = sum(found.widest[0] <= actual <= found.widest[1] for actual, found in settled)
    return {
        "n_settled": len(settled),
        "inside": round(inside / len(settled), 4),
        "in_sums": round(sums / len(settled), 4),
        "n": len(told),
        "over": round(sum(a > 1.25 * found.high for a, found in told) / len(told), 4),
        "stopped": round(sum(a > HEADROOM * found.tail for a, found in told) / len(told), 4),
    }


def histories() -> Iterator[tuple[str, Iterable[Past]]]:
    """A year's ledger, rented GPUs, and parts that depend on each other in several ways."""
    with tempfile.TemporaryDirectory() as place:
        ledger = Ledger.open(Settings(home=Path(place)))
        year.fill(ledger, JOBS, 0)
        yield "year", ledger.observed_jobs()
    chance = random.Random(3)  # noqa: S311 made-up history, no secret
    yield "rented", [rented(chance, number) for number in range(JOBS)]
    for together, alone in DEPENDING:
        chance = random.Random(11)  # noqa: S311
        yield f"together {together}, alone {alone}", history_of(chance, JOBS, together, alone)


if __name__ == "__main__":
    for name, jobs in histories():
        print(json.dumps({"history": name, **counted(jobs)}))
