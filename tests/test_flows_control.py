"""A rented job from a machine as deployments/control.Dockerfile makes it: no torch, no weights."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import control_machine
import pytest
from commands import ROOT, brightrun, furnish, ledger, run_folder, small_file, train_options
from runpod_flow import trainers

from brightrun.context import JobContext
from brightrun.settings import Settings
from reports.proven import golden_answers

pytestmark = [pytest.mark.heavy, pytest.mark.slow]


def test_a_machine_without_torch_drives_a_rented_job_to_report_and_package(
    models: Path, tmp_path: Path
) -> None:
    python = control_machine.control_machine(tmp_path / "venv")
    there = ("sh", "-c", f'shift && exec {python} "$@"', "sh")  # in place of this Python
    home, file = furnish(tmp_path / "home", models), small_file(tmp_path)
    weights = list((home / "models").rglob("*.safetensors"))
    assert weights
    for path in weights:
        path.unlink()

    def pod(told: dict[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
        here = {"BRIGHTRUN_MODELS": str(models), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        return (sys.executable, "-m", "trainer"), {**told, **here}

    with trainers(home, pod) as (_, account):
        wish = (str(file), *train_options(), "--yes", "--json", "--provider", "runpod")
        done = brightrun(home, "train", *wish, wrap=there, **account)
        assert done.code == 0, done.err
        job_id = done.json["job_id"]
        for words in (("package", job_id), ("evaluate", job_id), ("report", job_id),
                      ("report", job_id, "--kind", "slides"), ("share", job_id),
                      ("export", job_id, "--format", "parquet")):  # fmt: skip
            again = brightrun(home, *words, wrap=there, **account)
            assert again.code == 0, (words, again.err)
    # docs/runpod.md, "Checking a package": another machine, with ledger, storage and the weights.
    shared = {"STORAGE_URL": (home / "storage").as_uri(),
              "DATABASE_URL": f"sqlite:///{home / 'ledger.db'}"}  # fmt: skip
    by_hand = ("package", job_id, "--check", "--base", str(models / "tiny"))
    checked = brightrun(tmp_path / "rented", *by_hand, **shared)
    assert checked.code == 0, checked.err
    assert golden_answers(JobContext(Settings(home=home), ledger(home), job_id))
    folder = run_folder(home, job_id)
    provenance = folder.read_json("report/report.json")["provenance"]
    for name in ("torch", "transformers", "peft", "trl", "bitsandbytes"):
        assert provenance[name] == metadata.version(name)
    assert folder.names("package")
