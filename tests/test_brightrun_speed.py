"""How fast this machine multiplies, against the reference."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brightrun import speed


def test_the_share_is_of_as_many_threads_of_the_reference_machine() -> None:
    assert speed.share(speed.REFERENCE, 1) == 1.0
    assert speed.share(speed.REFERENCE, 2) == 0.5
    assert speed.share(0.0, 2) == 0.01  # an estimate is never infinite


def test_a_machine_is_measured_in_a_process_of_its_own() -> None:
    speed.measured.cache_clear()
    found = speed.measured(1)
    assert 0.01 <= found.speed < 20
    assert 0.01 <= found.free <= 1
    assert speed.measured(1) == found


FOUR_ON_ONE_CORE = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from brightrun import speed
speed.WARM_UP = 2
print(*speed.rate(1, 0.1), *speed.rate(4, 0.1))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")
def test_a_busy_machine_is_not_taken_for_a_slow_one() -> None:
    """Four threads on one core run a quarter of the time each, and as fast as one while they do."""
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    command = [sys.executable, "-c", FOUR_ON_ONE_CORE]
    done = subprocess.run(
        command, env={**os.environ, **single}, capture_output=True, text=True, check=True
    )
    alone, _, together, ran = map(float, done.stdout.split())
    assert ran < 0.4
    assert together / 4 > 0.5 * alone


def test_a_clock_that_runs_ahead_makes_no_more_cores() -> None:
    assert speed.free(1.004) == speed.free(1.04) == 1.0
    assert speed.free(0.0) == 0.01


def test_a_machine_that_cannot_be_measured_counts_as_the_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Python finds no standard library there: the process really fails.
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    speed.measured.cache_clear()
    assert speed.measured(1) == speed.Sample(speed=1.0, free=1.0)
    speed.measured.cache_clear()
