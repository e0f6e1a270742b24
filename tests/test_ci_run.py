"""The commands of a newcomer and of CI say what they leave out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_ci_fails_in_words_when_chromium_is_missing_and_cannot_be_had(tmp_path: Path) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    somebody = tmp_path / "id"
    somebody.write_text("#!/bin/sh\necho 1000\n")
    somebody.chmod(0o755)
    done = subprocess.run(
        [str(shutil.which("bash")), str(ROOT / ".ci/run")],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Chromium is missing" in done.stderr
    assert "make" not in done.stdout


def test_a_run_without_the_slow_tests_says_how_many_and_how_to_run_them(tmp_path: Path) -> None:
    quick = "import pytest\ndef test_a(): pass\n@pytest.mark.slow\ndef test_b(): pass\n"
    place = tmp_path / "test_one.py"
    place.write_text(quick)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "conftest",
         f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml"), str(place)],
        cwd=ROOT / "tests", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "slow tests left out: 1 (make soak)" in done.stdout


def test_ci_runs_the_suite_and_what_the_suite_leaves_to_the_package_index(tmp_path: Path) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    called = tmp_path / "called"
    for name in ("chromium", "make"):
        (tmp_path / name).write_text(f'#!{shutil.which("sh")}\necho "$@" >> {called}\n')
        (tmp_path / name).chmod(0o755)
    subprocess.run([str(shutil.which("bash")), str(ROOT / ".ci/run")], env={"PATH": str(tmp_path)},
                   check=True)  # fmt: skip
    targets = ["lint", "audit", "test", "test-postgres", "test-network", "test-lm-eval"]
    assert called.read_text().split() == targets
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", *targets[-2:]], cwd=ROOT, capture_output=True,
        text=True, check=True,
    ).stdout  # fmt: skip
    assert "-m 'network and not slow'" in said
    assert "pip install -q -c constraints.txt lm-eval" in said
    assert "tests/test_evals_harness.py tests/test_trainer_measuring.py" in said
