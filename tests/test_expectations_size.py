"""Size and time: linear, and a gigabyte in under a gigabyte of memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import training_files as tf
from commands import furnish

from expectations.runner import Runner
from expectations.validation import validate_file

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_time_grows_no_faster_than_the_file(ending: str, tmp_path: Path, runner: Runner) -> None:
    small, large = tmp_path / f"small{ending}", tmp_path / f"large{ending}"
    tf.write_large(small, turns=1_000, length=2)
    tf.write_large(large, turns=10_000, length=2)

    def seconds(path: Path) -> float:
        started = time.process_time()
        assert validate_file(path, runner=runner).valid
        return time.process_time() - started

    seconds(small)  # first use compiles what is lazy
    # In turn: a processor that becomes slower meanwhile slows both.
    ratios = [seconds(large) / seconds(small) for _ in range(3)]
    assert median(ratios) < 8, ratios  # linear: 2 to 5, for each file has a fixed cost too


MEASURE = """
import resource, sys, time
from pathlib import Path
from expectations.validation import validate_file
started = time.perf_counter()
report = validate_file(Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
seconds = time.perf_counter() - started
print(report.valid, report.conversations, report.pairs, round(seconds, 1), round(peak))
"""


def measured(path: Path) -> tuple[str, int, int, float, int]:
    """(valid, conversations, pairs, seconds, peak MB) of a validation in its own process."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    print(path.name, f"{path.stat().st_size / 1e9:.3f} GB:", done.stdout.strip())
    valid, conversations, pairs, seconds, peak = done.stdout.split()
    return valid, int(conversations), int(pairs), float(seconds), int(peak)


COMMAND = """
import resource, sys
from flows import cli
try:
    cli.main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def validated(path: Path, home: Path) -> tuple[Json, int]:
    """What `brightrun validate --json` says of a file with the tokenizer of `tiny`, peak MB."""
    environ = {**os.environ, "BRIGHTRUN_HOME": str(home), "BRIGHTRUN_LOCAL_BASE_MODEL": "tiny"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "validate", str(path), "--json"],
        capture_output=True, text=True, cwd=ROOT, check=True, env=environ,
    )  # fmt: skip
    peak = done.stderr.splitlines()[-1]
    print(path.name, f"{path.stat().st_size / 1e9:.3f} GB: {peak} MB")
    return json.loads(done.stdout), int(peak)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_gigabyte_is_read_in_under_a_gigabyte_of_memory(
    ending: str, tmp_path: Path, models: Path
) -> None:
    """The whole command: tokens are counted, and what we test with is looked for."""
    path = tmp_path / f"large{ending}"
    turns = tf.write_large(path, size=1_000_000_000, each=8, length=14)
    found, peak = validated(path, furnish(tmp_path / "home", models))
    path.unlink()
    assert (found["valid"], found["conversations"]) == (True, turns // 8)
    assert found["contamination"]["turns"] == turns
    assert peak < 1000


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_hundred_thousand_turns_take_under_twenty_times_the_time_of_five_thousand(
    ending: str, tmp_path: Path
) -> None:
    small, large = tmp_path / f"small{ending}", tmp_path / f"large{ending}"
    tf.write_large(small, turns=5_000)
    tf.write_large(large, turns=100_000)
    assert measured(large)[3] < 20 * measured(small)[3]
