"""Checkpoints: cadence, the last three, damaged and half-made ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from brightrun.runfolder import MANIFEST, RunFolder, checkpoint
from trainer import checkpoints
from trainer.reporter import Reporter

FACTS = {"versions": {"torch": "2"}, "threads": 1, "hardware": {"device": "cpu"}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder((tmp_path / "storage").as_uri(), "job-1")


def reporter_of(folder: RunFolder) -> Reporter:
    return Reporter(folder, 1, {})


def publish(folder: RunFolder, scratch: Path, step: int) -> None:
    local = scratch / f"checkpoint-{step}"
    local.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "optimizer.pt", "training_args.bin"):
        (local / name).write_text(f"{name} of {step}")
    checkpoints.Saver(folder, reporter_of(folder), FACTS).publish(local, step, step / 4)
    assert not local.exists()


def warnings_of(reporter: Reporter, folder: RunFolder) -> list[str]:
    reporter.flush()
    return [e.payload["code"] for e in folder.events(1) if e.type == "warning"]


@pytest.mark.parametrize(
    ("wished", "total", "every"), [(100, 40, 4), (100, 5, 1), (2, 40, 2), (100, 5000, 100)]
)
def test_interval_is_the_smaller_of_the_wish_and_a_tenth(
    wished: int, total: int, every: int
) -> None:
    assert checkpoints.step_interval(wished, total) == every


def test_schedule_saves_by_steps_by_minutes_and_at_the_end() -> None:
    schedule = checkpoints.Schedule(steps=4, minutes=60, total=42, resumed_at=8)
    assert [s for s in range(9, 13) if schedule.due(s, 1.0)] == [12]
    assert schedule.due(42, 1.0)
    # One more step of 2 hours would go over the hour.
    assert schedule.due(9, 7200.0)


def test_only_the_last_three_are_kept_and_no_pickle_is_published(
    folder: RunFolder, tmp_path: Path
) -> None:
    for step in (1, 2, 3, 4):
        publish(folder, tmp_path, step)
    assert folder.checkpoints() == [2, 3, 4]
    manifest = folder.manifest(checkpoint(4))
    assert manifest is not None
    assert set(manifest["files"]) == {"adapter_model.safetensors", "optimizer.pt"}
    assert (manifest["step"], manifest["epoch"], manifest["threads"]) == (4, 1.0, 1)


def test_a_damaged_checkpoint_is_skipped_with_a_warning_and_the_previous_used(
    folder: RunFolder, tmp_path: Path
) -> None:
    publish(folder, tmp_path, 2)
    publish(folder, tmp_path, 4)
    folder.write_bytes(f"{checkpoint(4)}/optimizer.pt", b"other bytes")
    reporter = reporter_of(folder)
    step, local = checkpoints.newest(folder, tmp_path / "scratch", reporter, FACTS)
    assert step == 2
    assert local is not None
    assert (local / "optimizer.pt").read_text() == "optimizer.pt of 2"
    assert warnings_of(reporter, folder) == ["damaged_checkpoint"]
    assert folder.checkpoints() == [2]


def test_a_half_made_upload_does_not_exist_and_is_cleaned_up(
    folder: RunFolder, tmp_path: Path
) -> None:
    publish(folder, tmp_path, 2)
    folder.write_bytes(f"{checkpoint(4)}/optimizer.pt", b"half")
    step, _ = checkpoints.newest(folder, tmp_path / "scratch", reporter_of(folder), FACTS)
    assert step == 2
    assert folder.names("checkpoints") == ["step-00000002"]


def test_a_new_save_replaces_a_half_made_one(folder: RunFolder, tmp_path: Path) -> None:
    folder.write_bytes(f"{checkpoint(2)}/leftover.pt", b"half")
    publish(folder, tmp_path, 2)
    assert folder.names(checkpoint(2)) == ["adapter_model.safetensors", MANIFEST, "optimizer.pt"]


def test_another_machine_is_said_to_break_bit_exactness(folder: RunFolder, tmp_path: Path) -> None:
    publish(folder, tmp_path, 2)
    reporter = reporter_of(folder)
    now = {**FACTS, "threads": 2, "versions": {"torch": "3"}}
    assert checkpoints.newest(folder, tmp_path / "scratch", reporter, now)[0] == 2
    assert warnings_of(reporter, folder) == ["inexact_resume", "inexact_resume"]
    assert checkpoints.differences(FACTS, FACTS) == []


def test_without_checkpoints_training_starts_at_the_beginning(
    folder: RunFolder, tmp_path: Path
) -> None:
    assert checkpoints.newest(folder, tmp_path, reporter_of(folder), FACTS) == (0, None)
