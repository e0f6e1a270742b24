"""A few schedules of `make chaos`, and that its judge can find something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from chaos_schedule import draw

ROOT = Path(__file__).resolve().parents[1]


def test_five_random_schedules_end_as_they_must() -> None:
    command = [sys.executable, "tests/chaos.py", "--runs", "5", "--workers", "1"]
    mine = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=mine, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["runs"], said["completed"] + said["stopped"]) == (5, 5)
    assert said["faults_injected"] > 10
    assert (said["leaked"], said["double_billed"]) == (0, 0)


def test_a_seed_always_draws_the_same_schedule() -> None:
    assert draw(7) == draw(7) != draw(8)
