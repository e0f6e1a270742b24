"""The probe: a resume goes on only with the model that the checkpoint was made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_trainer_distributed import end, start
from trainer_jobs import (
    SMALL,
    lay_out,
    payloads,
    run_pod,
    tiny_models,
    without_golden,
)

from brightrun.errors import TrainerError
from brightrun.runfolder import FAILED, MANIFEST, RunFolder, checkpoint, sha256_file
from trainer import guards, probe
from trainer.data import Sample
from trainer.resuming import COMPUTES, probe_room

QUICK = SMALL.model_copy(update={"scenarios": 1, "questions": 1, "rotations": 1})
WEIGHTS = "adapter_model.safetensors"


def killed(place: Path) -> RunFolder:
    """A job that was killed after step 5 of 8; its newest checkpoint has a probe."""
    folder = without_golden(lay_out(place, tiny_models(), QUICK))
    assert run_pod(folder, tiny_models(), BRIGHTRUN_INTERRUPT_AT="5") == -9
    assert 0 < newest(folder)["probe"] < 20
    return folder


def newest(folder: RunFolder) -> dict[str, Any]:
    return dict(folder.manifest(checkpoint(folder.checkpoints()[-1])) or {})


def rewrite(folder: RunFolder, **changes: Any) -> None:
    """Other facts in the newest checkpoint's manifest; None takes one out."""
    found = {k: v for k, v in {**newest(folder), **changes}.items() if v is not None}
    folder.write_json(f"{checkpoint(folder.checkpoints()[-1])}/{MANIFEST}", found)


def lose_adapter(folder: RunFolder, scratch: Path) -> None:
    """Zeroes where the adapter was, in a checkpoint whose hashes are right."""
    from safetensors.torch import load_file, save_file

    name, local = f"{checkpoint(folder.checkpoints()[-1])}/{WEIGHTS}", scratch / WEIGHTS
    folder.download(name, local)
    save_file({key: value * 0 for key, value in load_file(local).items()}, local)
    folder.upload(local, name)
    files = newest(folder)["files"]
    files[WEIGHTS].update(size=local.stat().st_size, sha256=sha256_file(local))
    rewrite(folder, files=files)


def steps(folder: RunFolder, attempt: int = 2) -> list[int]:
    return [m["step"] for m in payloads(folder, "metric", attempt) if "loss" in m]


def assert_stopped(folder: RunFolder, most: str) -> None:
    name, content = folder.marker(2) or ("", {})
    assert (name, content["fault"]) == (FAILED, "loss_jump")
    assert f"at most {most} off was expected" in content["message"]
    assert steps(folder) == []


@pytest.mark.heavy
def test_a_checkpoint_without_its_adapter_is_stopped_before_the_first_step(tmp_path: Path) -> None:
    folder = killed(tmp_path / "job")
    lose_adapter(folder, tmp_path)
    before = folder.checkpoints()
    assert run_pod(folder, tiny_models(), 2) == 1
    assert_stopped(folder, "0.0001")
    assert folder.checkpoints() == before


@pytest.mark.heavy
def test_on_another_machine_the_probe_is_judged_with_room_for_rounding(tmp_path: Path) -> None:
    folder = killed(tmp_path / "job")
    true = newest(folder)["probe"]
    rewrite(folder, threads=7, probe=true + 0.03)
    assert run_pod(folder, tiny_models(), 2) == 1
    assert_stopped(folder, "0.02")
    rewrite(folder, probe=true + 0.003)
    assert run_pod(folder, tiny_models(), 3) == 0
    assert steps(folder, 3)[-1] == 8


@pytest.mark.heavy
def test_a_checkpoint_of_an_earlier_version_has_no_probe_and_goes_on(tmp_path: Path) -> None:
    folder = killed(tmp_path / "job")
    lose_adapter(folder, tmp_path)
    rewrite(folder, probe=None)
    assert run_pod(folder, tiny_models(), 2, BRIGHTRUN_INTERRUPT_AT="6") == -9
    assert steps(folder)[-1] == 6


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_several_processes_compute_the_probe_of_a_resume_together(
    mode: str, lost: bool, tmp_path: Path
) -> None:
    folder = killed(tmp_path / "job")
    if lost:
        lose_adapter(folder, tmp_path)
    pods = start(folder, 2, 2, BRIGHTRUN_CHOICES=json.dumps({"parallel": mode}))
    assert end(pods) == ([1, 1] if lost else [0, 0])
    if lost:
        assert_stopped(folder, "0.02")
    else:
        assert steps(folder)[-1] == 8
        # Whoever saves with a spread model is alone, and cannot compute.
        assert ("probe" in newest(folder)) == (mode == "ddp")


def test_the_probe_may_be_off_by_rounding_only() -> None:
    guards.check_probe(2.0, 2.00009, guards.EXACT, 6)
    guards.check_probe(2.0, 1.981, guards.OTHERWISE, 6)
    exact, otherwise = guards.EXACT, guards.OTHERWISE
    cases = (2.0002, exact), (1.9998, exact), (2.021, otherwise), (float("nan"), otherwise)
    for now, most in cases:
        with pytest.raises(TrainerError, match="resumed at step 6") as error:
            guards.check_probe(2.0, now, most, 6)
        assert error.value.fault == "loss_jump"


def test_another_number_format_gets_more_room_than_another_kernel() -> None:
    machine = {"versions": {"torch": "2"}, "threads": 1, "hardware": {"device": "cpu"}}
    before = {**machine, COMPUTES: {"dtype": "float32", "attention": "sdpa"}}
    eager = {**machine, COMPUTES: {"dtype": "float32", "attention": "eager"}}
    half = {**machine, COMPUTES: {"dtype": "bfloat16", "attention": "sdpa"}}
    rooms = [probe_room(before, now) for now in (before, eager, half)]
    assert rooms == [guards.EXACT, guards.OTHERWISE, guards.OTHER_FORMAT]


def test_the_text_is_the_beginning_of_the_first_held_out_conversation() -> None:
    def sample(first: int) -> Sample:
        ids = tuple(range(first, first + 100))
        return Sample("a", "a", "", ids, ids, (True,) * 100)

    assert probe.text([sample(7), sample(1)], [sample(300)]) == list(range(7, 71))
    assert probe.text([], [sample(300)])[0] == 300
