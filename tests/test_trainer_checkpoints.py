"""Checkpoints: cadence, which are kept, damaged and half-made ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brightrun import intervals
from brightrun.errors import TrainerError
from brightrun.runfolder import MANIFEST, RunFolder, checkpoint, sha256_file
from trainer import checkpoints, finalize, hardware
from trainer.reporter import Reporter
from trainer.resuming import Found, differences, newest
from trainer.uploads import Saved

FACTS = {"versions": {"torch": "2"}, "threads": 1, "hardware": {"device": "cpu"}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder((tmp_path / "storage").as_uri(), "job-1")


def reporter_of(folder: RunFolder) -> Reporter:
    return Reporter(folder, 1, {})


def write(local: Path, step: int, value: float = 0.5) -> Path:
    """A checkpoint folder as the HF trainer leaves it."""
    import torch
    from safetensors.torch import save_file

    local.mkdir(parents=True)
    save_file({"lora": torch.full((4,), value)}, local / "adapter_model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"step": step}, local / name)
    (local / "trainer_state.json").write_text("{}")
    return local


def publish(
    folder: RunFolder, scratch: Path, step: int, value: float = 0.5, **facts: float
) -> Reporter:
    local = write(scratch / f"checkpoint-{step}", step, value)
    reporter = reporter_of(folder)
    checkpoints.Publisher(folder, reporter, FACTS).publish(Saved(local, step, facts, 0.25))
    return reporter


def warnings_of(reporter: Reporter, folder: RunFolder) -> list[str]:
    reporter.flush()
    return [e.payload["code"] for e in folder.events(1) if e.type == "warning"]


@pytest.mark.parametrize(
    ("wished", "total", "every"),
    [(100, 40, 4), (100, 5, 2), (1, 5, 1), (2, 40, 2), (100, 5000, 100)],
)
def test_interval_is_the_smaller_of_the_wish_and_a_tenth_but_two_steps_where_the_wish_allows(
    wished: int, total: int, every: int
) -> None:
    assert intervals.step_interval(wished, total) == every


def test_schedule_saves_by_steps_by_minutes_and_at_the_end() -> None:
    schedule = checkpoints.Schedule(steps=4, minutes=60, total=42, resumed_at=8)
    # At three quarters of the interval: storing it takes time.
    assert [s for s in range(9, 12) if schedule.due(s, 1.0)] == [11]
    assert schedule.due(42, 1.0)
    # One more step of 50 minutes would go over three quarters of the hour.
    assert schedule.due(9, 3000.0)
    assert not schedule.due(9, 2400.0)


def test_what_must_be_stored_before_a_step_leaves_at_most_the_interval_at_stake() -> None:
    schedule = checkpoints.Schedule(steps=4, minutes=60, total=42, resumed_at=8)
    assert [schedule.needed(step, 1.0) for step in (9, 12)] == [8, 8]
    schedule.saved(11)
    assert [schedule.needed(step, 1.0) for step in (12, 13, 15)] == [8, 11, 11]
    schedule.saved(14)
    # The clock: a step of two hours may fall back to no checkpoint within the hour, so the newest.
    assert schedule.needed(15, 7200.0) == 14


@given(st.integers(1, 200), st.integers(1, 3000), st.data())
def test_no_kill_costs_more_than_the_interval(steps: int, total: int, data: st.DataObject) -> None:
    """Whatever the storing takes: steps wait for what is needed, and a kill falls back to it."""
    schedule = checkpoints.Schedule(steps, 1e9, total, 0)
    stored, under_way = 0, list[int]()
    for step in range(1, min(total, 60) + 1):
        if under_way and data.draw(st.booleans()):
            stored = under_way.pop(0)
        while stored < schedule.needed(step, 0.0):
            stored = under_way.pop(0)
        assert step - stored <= intervals.step_interval(steps, total)
        if schedule.due(step, 0.0):
            schedule.saved(step)
            under_way.append(step)


def test_what_waits_for_the_storage_is_not_at_stake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is the interval, a step takes 20 seconds, storing 70: still several steps a save."""
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    schedule = checkpoints.Schedule(steps=1000, minutes=1, total=100_000, resumed_at=0)
    stored, under_way, saves = 0, [(0, 0.0)], 0
    for step in range(1, 61):
        needed, begun = schedule.needed(step, 20.0), now[0]
        while stored < needed:
            stored, done = under_way.pop(0)
            now[0] = max(now[0], done)
        schedule.waited(now[0] - begun)
        now[0] += 20
        if schedule.due(step, 20.0):
            schedule.saved(step)
            saves += 1
            last = max(done for _, done in under_way) if under_way else 0.0
            under_way.append((step, max(now[0], last) + 70))
    assert saves <= 30


def test_only_the_last_three_are_kept(folder: RunFolder, tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        publish(folder, tmp_path, step)
    assert folder.checkpoints() == [2, 3, 4]
    manifest = folder.manifest(checkpoint(4))
    assert manifest is not None
    assert set(manifest["files"]) == {
        "adapter_model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt",
        "trainer_state.json",
    }  # fmt: skip
    assert (manifest["step"], manifest["threads"]) == (4, 1)


def test_the_best_by_validation_loss_is_kept_beside_the_last_three(
    folder: RunFolder, tmp_path: Path
) -> None:
    for step, loss in enumerate((3.0, 1.0, 2.0, 1.5, 1.2, 1.7), start=1):
        publish(folder, tmp_path, step, validation_loss=loss)
    # Each publisher is new: what is best is read from the manifests, as after a resume.
    assert folder.checkpoints() == [2, 4, 5, 6]
    publish(folder, tmp_path, 7, validation_loss=0.9)
    assert folder.checkpoints() == [5, 6, 7]


@given(st.sets(st.integers(1, 50)), st.dictionaries(st.integers(1, 50), st.floats(0, 9)))
def test_never_fewer_than_the_last_three_and_never_more_than_four(
    complete: set[int], losses: dict[int, float]
) -> None:
    kept = checkpoints.kept(sorted(complete), losses)
    assert set(sorted(complete)[-3:]) <= kept <= complete
    assert len(kept) <= 4
    known = complete & set(losses)
    assert not known or min(losses[s] for s in known) in {losses[s] for s in kept & known}


def test_a_validation_loss_that_is_no_number_is_not_the_best() -> None:
    complete = [1, 2, 3, 4, 5]
    assert checkpoints.kept(complete, {1: math.nan, 2: 1.5, 3: 2.0}) == {2, 3, 4, 5}
    assert checkpoints.kept(complete, {1: -math.inf}) == {3, 4, 5}


def test_an_adapter_with_a_nan_is_not_published(
    folder: RunFolder, tmp_path: Path, torch: Any
) -> None:
    model = torch.nn.Linear(2, 2)
    model.weight.data[1, 0] = torch.nan
    with pytest.raises(TrainerError, match=r"weight of the trained adapter") as error:
        finalize.publish_adapter(model, "tiny", folder, tmp_path, {})
    assert error.value.fault == "nan_loss"
    assert not folder.exists("adapter")


def test_the_event_tells_size_time_and_stall(folder: RunFolder, tmp_path: Path) -> None:
    reporter = publish(folder, tmp_path, 1)
    reporter.flush()
    (event,) = [e.payload for e in folder.events(1) if e.type == "checkpoint"]
    assert set(event) == {"step", "bytes", "seconds", "stalled_s"}
    files = (folder.manifest(checkpoint(1)) or {})["files"]
    assert event["bytes"] == sum(f["size"] for f in files.values())
    assert event["stalled_s"] == 0.25


def test_a_damaged_checkpoint_is_skipped_with_a_warning_and_the_previous_used(
    folder: RunFolder, tmp_path: Path, torch: Any
) -> None:
    publish(folder, tmp_path, 2)
    publish(folder, tmp_path, 4)
    folder.write_bytes(f"{checkpoint(4)}/optimizer.pt", b"other bytes")
    reporter = reporter_of(folder)
    found = newest(folder, tmp_path / "scratch", reporter, FACTS)
    assert found.step == found.manifest["step"] == 2
    assert found.local is not None
    assert torch.load(found.local / "optimizer.pt", weights_only=True) == {"step": 2}
    assert warnings_of(reporter, folder) == ["damaged_checkpoint"]
    assert folder.checkpoints() == [2]


def test_nonsense_that_was_hashed_as_it_is_does_not_pass(folder: RunFolder, tmp_path: Path) -> None:
    """A faulty disk of the pod: the manifest fits the bytes, but nothing can load them."""
    publish(folder, tmp_path, 2)
    for step, name in ((4, "adapter_model.safetensors"), (5, "optimizer.pt")):
        publish(folder, tmp_path, step)
        folder.write_bytes(f"{checkpoint(step)}/{name}", b"nonsense")
        manifest = folder.manifest(checkpoint(step)) or {}
        place = folder.local_path(f"{checkpoint(step)}/{name}")
        manifest["files"][name] = {"size": 8, "sha256": sha256_file(place)}
        folder.write_json(f"{checkpoint(step)}/{MANIFEST}", manifest)
    reporter = reporter_of(folder)
    assert newest(folder, tmp_path / "scratch", reporter, FACTS).step == 2
    assert warnings_of(reporter, folder) == ["damaged_checkpoint"] * 2


@pytest.mark.parametrize("damage", ["nan", "manifest"])
def test_values_that_are_not_finite_and_torn_manifests_are_damage(
    folder: RunFolder, tmp_path: Path, damage: str
) -> None:
    publish(folder, tmp_path, 2)
    publish(folder, tmp_path, 4, float("nan") if damage == "nan" else 0.5)
    if damage == "manifest":
        folder.write_bytes(f"{checkpoint(4)}/{MANIFEST}", b'{"files": {"adap')
    reporter = reporter_of(folder)
    assert newest(folder, tmp_path / "scratch", reporter, FACTS).step == 2
    assert warnings_of(reporter, folder) == ["damaged_checkpoint"]
    publish(folder, tmp_path / "later", 6)
    assert folder.checkpoints() == [2, 6]


def test_a_pod_without_memory_throws_no_checkpoint_away(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(folder, tmp_path, 2)

    def no_room(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("safetensors.torch.load_file", no_room)
    with pytest.raises(MemoryError):
        newest(folder, tmp_path / "scratch", reporter_of(folder), FACTS)
    assert folder.checkpoints() == [2]


def test_a_half_made_upload_does_not_exist_and_is_cleaned_up(
    folder: RunFolder, tmp_path: Path
) -> None:
    publish(folder, tmp_path, 2)
    folder.write_bytes(f"{checkpoint(4)}/optimizer.pt", b"half")
    assert newest(folder, tmp_path / "scratch", reporter_of(folder), FACTS).step == 2
    assert folder.names("checkpoints") == ["step-00000002"]


def test_a_new_save_replaces_a_half_made_one(folder: RunFolder, tmp_path: Path) -> None:
    folder.write_bytes(f"{checkpoint(2)}/leftover.pt", b"half")
    publish(folder, tmp_path, 2)
    assert "leftover.pt" not in folder.names(checkpoint(2))


def test_another_machine_is_said_to_break_bit_exactness(folder: RunFolder, tmp_path: Path) -> None:
    publish(folder, tmp_path, 2)
    reporter = reporter_of(folder)
    now = {**FACTS, "threads": 2, "versions": {"torch": "3"}}
    assert newest(folder, tmp_path / "scratch", reporter, now).step == 2
    assert warnings_of(reporter, folder) == ["inexact_resume", "inexact_resume"]
    assert differences(FACTS, FACTS) == []


def test_a_checkpoint_of_an_older_arithmetic_is_not_resumed_as_exact() -> None:
    now = {**FACTS, "versions": hardware.versions()}
    libraries = {name: now["versions"][name] for name in hardware.LIBRARIES}
    older = {**now, "versions": {**libraries, "trainer's numerics": "1"}}
    assert differences(older, now) == [f"trainer's numerics 1 -> {hardware.NUMERICS}"]
    before_any = {**now, "versions": libraries}
    assert differences(before_any, now) == [f"trainer's numerics None -> {hardware.NUMERICS}"]


def test_without_checkpoints_training_starts_at_the_beginning(
    folder: RunFolder, tmp_path: Path
) -> None:
    assert newest(folder, tmp_path, reporter_of(folder), FACTS) == Found()
