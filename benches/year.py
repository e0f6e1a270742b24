"""A year of history: how long the lists, sums, budget and backtest take over it.

    python -m benches.year [--jobs 5000] [--metrics 600000] [--home FOLDER]

Makes a ledger of its own (about 200 MB, removed again without --home) and prints one JSON object:
seconds of CPU of each question, asked once with a ledger opened afresh.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from brightrun import budgeting, digest
from brightrun.backtest import backtest
from brightrun.history import Wanted, chosen, summary
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.ledger_schema import attempts, jobs, metrics, observations, verdicts
from brightrun.money import to_micro
from brightrun.scorecard import scorecard
from brightrun.settings import Settings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PARTS = ("model_loading", "preprocessing", "training", "measuring", "finalization")
CLIENTS = ("", "Acme", "Bolt", "Crane", "Dune")
PRESETS = ("conservative", "balanced", "aggressive")
BATCH = 5000


def fill(ledger: Ledger, count: int, metric_rows: int, seed: int = 1) -> None:
    """Jobs over a year with pods, observations, verdicts and a metric history."""
    chance = random.Random(seed)  # noqa: S311 made-up history, no secret
    request = JobRequest(training_file="spring").model_dump(mode="json")
    rows: dict[str, list[dict[str, Any]]] = {"jobs": [], "attempts": [], "seen": [], "verdicts": []}
    for number in range(count):
        job_id, at = f"j{number:05}", NOW - timedelta(days=365) * (1 - number / count)
        failed = chance.random() < 0.06
        hours = chance.uniform(4, 14)
        usd = Decimal(str(round(hours * 2.5, 6)))
        end = min(NOW, at + timedelta(hours=hours))
        facts = {"cost_usd": {"low": 10, "likely": 25, "high": 40}, "parts": {}}
        guesses = {name: hours * 3600 / 5 * chance.uniform(0.6, 1.6) for name in PARTS}
        rows["jobs"].append(
            {
                "job_id": job_id, "status": "failed" if failed else "completed",
                "name": f"Run {number}", "client": chance.choice(CLIENTS), "preset":
                chance.choice(PRESETS), "provider": "runpod", "market": "spot",
                "requested_by": chance.choice(("Ann", "Ben", "Eve")), "training_file": "spring",
                "request": request, "created_at": at, "updated_at": end, "started_at": at,
                "finished_at": end, "estimate": {**facts, "guess_s": guesses},
                "estimate_likely_micro": to_micro(Decimal(25)),
                "estimate_high_micro": to_micro(Decimal(40)),
                "error": {"code": "trainer"} if failed else None,
            }
        )  # fmt: skip
        rows["attempts"].append(
            {
                "job_id": job_id, "number": 1, "provider": "runpod", "market": "spot",
                "pod_name": f"br-{job_id}-1", "usd_per_hour_micro": 2_500_000, "launched_at": at,
                "started_at": at, "ended_at": end, "outcome": "done", "cost_micro": to_micro(usd),
            }
        )  # fmt: skip
        if not failed:
            key = {"machine": "H100 80GB PCIe", "model": "llama-3-70b", "precision": "nf4"}
            for part in PARTS:
                tokens = chance.uniform(1e6, 3e6) if part in ("training", "measuring") else 1e5
                seconds = tokens * 1e-3 * math.exp(chance.gauss(0, 0.04))
                rows["seen"].append(
                    {"job_id": job_id, "part": part, **key, "tokens": tokens, "seconds": seconds,
                     "at": end}
                )  # fmt: skip
            rows["verdicts"].append(
                {
                    "job_id": job_id, "metric": "emotional_intelligence", "evidence": "human",
                    "n": 50, "n_clusters": 50, "estimate": chance.gauss(0.4, 0.1), "ci_low": 0.3,
                    "ci_high": 0.5, "target_met": "inconclusive",
                }
            )  # fmt: skip
    tables = {"jobs": jobs, "attempts": attempts, "seen": observations, "verdicts": verdicts}
    with ledger.write() as c:
        for name, table in tables.items():
            for start in range(0, len(rows[name]), BATCH):
                c.execute(table.insert(), rows[name][start : start + BATCH])
        made = metric_history(count, metric_rows)
        while batch := list(islice(made, BATCH)):
            c.execute(metrics.insert(), batch)


def metric_history(count: int, wanted: int) -> Iterator[dict[str, Any]]:
    """The steps of all jobs, one row each."""
    each = max(1, wanted // count)
    for number in range(count):
        for step in range(1, each + 1):
            yield {
                "job_id": f"j{number:05}", "attempt": 1, "seq": step, "ts": NOW, "step": step,
                "validation": False, "loss": 2.0, "tokens": 8000, "seconds": 4.0,
            }  # fmt: skip


def questions() -> dict[str, Callable[[Ledger], object]]:
    """What people ask of a year; the same calls that the commands make."""

    def listed(ledger: Ledger) -> object:
        wanted = Wanted(text="run 49")
        return chosen(ledger.history(wanted, NOW), wanted, "quality", 20)

    return {
        "jobs": lambda ledger: chosen(ledger.history(Wanted(), NOW), Wanted(), "cost", 20),
        "jobs --text --sort quality": listed,
        "jobs --summary": lambda ledger: summary(ledger.history(Wanted(), NOW)),
        "scorecard": lambda ledger: scorecard(ledger.history(Wanted(), NOW), ledger.score_facts()),
        "budget": lambda ledger: budgeting.month(ledger, NOW),
        "budget forecast": lambda ledger: budgeting.outlook(ledger, NOW),
        "budget report": lambda ledger: budgeting.report(ledger, NOW),
        "estimate --backtest": lambda ledger: backtest(ledger.observed_jobs()),
        "digest": lambda ledger: digest.digest(ledger, NOW),
    }


def timed(home: Path, count: int, metric_rows: int) -> dict[str, float]:
    """CPU seconds of each question."""
    settings = Settings(home=home)
    if not (home / "ledger.db").exists():
        fill(Ledger.open(settings), count, metric_rows)
    found = {}
    for name, ask in questions().items():
        ledger = Ledger.open(settings)
        began = time.process_time()
        ask(ledger)
        found[name] = round(time.process_time() - began, 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--metrics", type=int, default=600_000)
    parser.add_argument("--home", type=Path, help="keep the ledger here, and use it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = options.home or Path(place)
        found = timed(home, options.jobs, options.metrics)
    print(json.dumps({"jobs": options.jobs, "metrics": options.metrics, "cpu_s": found}))


if __name__ == "__main__":
    main()
