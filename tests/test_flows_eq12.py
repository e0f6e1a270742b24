"""The real sample with the generated model, on the command line: from `train` to the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import brightrun, furnish, run_folder
from training_files import EQ12, needs_eq12

pytestmark = [pytest.mark.heavy, pytest.mark.slow, needs_eq12]


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_job_on_the_real_sample_completes_with_report_package_and_verdicts(
    models: Path, migrated: Path, tmp_path: Path, ending: str
) -> None:
    home = furnish(tmp_path / "home", models, migrated)
    wish = ("--preset", "demo", "--base-model", "tiny", "--provider", "local", "--yes", "--json")
    done = brightrun(home, "train", str(EQ12.with_suffix(ending)), *wish)
    assert done.code == 0, done.err
    result, folder = done.json, run_folder(home, done.json["job_id"])
    assert result["status"] == "completed"
    talks = [folder.read_jsonl(f"data/{part}.jsonl") for part in ("train", "validation")]
    assert [len(part) for part in talks] == [10, 2]
    verdicts = {v["metric"]: v for v in result["verdicts"]}
    assert verdicts["perplexity"]["n"] > 0
    assert verdicts["perplexity"]["trained"] < verdicts["perplexity"]["baseline"]
    for file in ("report_html", "report_pdf", "package"):
        assert Path(result[file]).stat().st_size > 0
