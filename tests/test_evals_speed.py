"""Scoring a full validation takes seconds of processor time, bootstrap and all."""

from __future__ import annotations

import time
from pathlib import Path

from measured_jobs import measured_job

from evals import statistics
from evals.assess import assess

MOST_CPU_S = 5.0


def test_fifty_scenarios_three_passes_two_models_are_scored_in_under_five_seconds(
    home: Path,
) -> None:
    job = measured_job(scenarios=50, questions=100, passes=3)
    assess(job.folder, job.spec)  # once: caches of patterns and imports
    began = time.process_time()
    found = assess(job.folder, job.spec)
    used = time.process_time() - began
    print(f"scored in {used:.2f} CPU seconds")
    assert found.facts["answers"]["trained"]["answers"] == 150
    assert statistics.DRAWS == 10_000
    assert used < MOST_CPU_S
