"""A job on this machine gets what is in this machine."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from brightrun import ownmachine, preflight
from brightrun.context import JobContext
from brightrun.errors import ConfigurationError, UsageError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.prices import H100_PCIE, H100_SXM
from brightrun.settings import load


def driver(place: Path, *models: str) -> Path:
    """What NVIDIA's driver lists under /proc."""
    for number, model in enumerate(models):
        card = place / f"0000:0{number}:00.0"
        card.mkdir(parents=True)
        (card / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 42\n")
    return place


def test_a_gpu_of_this_machine_is_its_own_and_no_other_is(tmp_path: Path) -> None:
    there = driver(tmp_path / "gpus", "NVIDIA H100 80GB HBM3", "Matrox G200")
    assert ownmachine.gpus_here(there) == (H100_SXM,)
    ownmachine.require("local", "h100-sxm", there)
    with pytest.raises(UsageError, match=rf"no {H100_PCIE} in this machine \(it has {H100_SXM}\)"):
        ownmachine.require("local", H100_PCIE, there)


def test_a_machine_without_a_gpu_is_a_cpu_and_rents_no_restrictions(tmp_path: Path) -> None:
    nothing = tmp_path / "none"
    assert ownmachine.gpus_here(nothing) == ()
    ownmachine.require("local", "", nothing)
    ownmachine.require("local", "cpu", nothing)
    ownmachine.require("runpod", H100_PCIE, nothing)
    with pytest.raises(UsageError, match="--provider runpod"):
        ownmachine.require("local", H100_PCIE, nothing)


def test_a_job_that_needs_more_memory_than_this_machine_has_is_refused(home: Path) -> None:
    settings = load()
    ledger = Ledger.open(settings)
    ledger.create_job("job-1", JobRequest(training_file="f.json"))
    job = JobContext(settings, ledger, "job-1")
    has = psutil.virtual_memory().total / 1e9
    preflight.require_memory(job, {"vram_gb": has - 0.1})
    with pytest.raises(ConfigurationError, match=f"{has + 2:.0f} GB .* has {has:.0f}; start a new"):
        preflight.require_memory(job, {"vram_gb": has + 2})
