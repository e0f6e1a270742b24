"""Checkpoints: when to save, what is published, which one a new attempt goes on from."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from brightrun.errors import StorageError
from brightrun.runfolder import MANIFEST, RunFolder, checkpoint
from trainer import hardware
from trainer.reporter import Reporter

KEPT = 3
# Written by the HF Trainer, but a pickle that nobody loads, or of no use for a resume.
UNWANTED = ("training_args.bin", "README.md")


def step_interval(checkpoint_steps: int, total_steps: int) -> int:
    """Steps between two checkpoints, before the clock is asked: max(1, min(N, total / 10))."""
    return max(1, min(checkpoint_steps, total_steps // 10))


class Schedule:
    """Decides after each step whether to save: by steps, by minutes, and after the last step."""

    def __init__(self, steps: int, minutes: float, total: int, resumed_at: int) -> None:
        self.every = step_interval(steps, total)
        self.seconds = minutes * 60
        self.total = total
        self.last_step = resumed_at
        self.last_time = time.monotonic()

    def due(self, step: int, step_seconds: float) -> bool:
        """True if a step more would go over the interval in steps or in minutes."""
        since = time.monotonic() - self.last_time
        return (
            step - self.last_step >= self.every
            or since + step_seconds > self.seconds
            or step == self.total
        )

    def saved(self, step: int) -> None:
        self.last_step, self.last_time = step, time.monotonic()


class Saver:
    """Publishes local checkpoint folders; keeps the last three complete ones."""

    def __init__(self, folder: RunFolder, reporter: Reporter, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.reporter = reporter
        self.facts = facts

    def publish(self, local: Path, step: int, epoch: float) -> None:
        """Upload `local`, manifest last, then delete it and the checkpoints beyond the last 3."""
        begun = time.monotonic()
        for name in UNWANTED:
            (local / name).unlink(missing_ok=True)
        target = checkpoint(step)
        # A half-made upload of a killed attempt may lie there.
        self.folder.remove(target)
        facts = {"step": step, "epoch": epoch, **self.facts}
        manifest = self.folder.upload_folder(local, target, facts)
        shutil.rmtree(local)
        for old in self.folder.checkpoints()[:-KEPT]:
            self.folder.remove(checkpoint(old))
        size = sum(file["size"] for file in manifest["files"].values())
        seconds = round(time.monotonic() - begun, 3)
        self.reporter.add("checkpoint", {"step": step, "bytes": size, "seconds": seconds})


def facts(threads: int) -> dict[str, Any]:
    """What a bit-exact resume needs to be the same."""
    return {
        "versions": hardware.versions(),
        "threads": threads,
        "hardware": hardware.describe(),
    }


def newest(
    folder: RunFolder, scratch: Path, reporter: Reporter, current: dict[str, Any]
) -> tuple[int, Path | None]:
    """(step, local copy) of the newest complete, hash-checked checkpoint; (0, None) if none.

    A damaged one is removed with a warning and the one before it is taken.
    """
    remove_half_made(folder)
    for step in reversed(folder.checkpoints()):
        local = scratch / f"checkpoint-{step}"
        try:
            manifest = folder.download_folder(checkpoint(step), local)
        except StorageError as error:
            shutil.rmtree(local, ignore_errors=True)
            reporter.warn(
                "damaged_checkpoint",
                f"checkpoint of step {step} is not used: {error.message}",
                "an upload or the storage damaged it",
                "nothing: the checkpoint before it is used",
            )
            folder.remove(checkpoint(step))
            continue
        for difference in differences(manifest, current):
            reporter.warn(
                "inexact_resume",
                f"the run is no longer bit-exact from step {step}: {difference}",
                "this attempt runs on another machine or with other libraries than the last",
                "for an exact run use the same pod type, image and thread count",
            )
        return step, local
    return 0, None


def differences(manifest: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """What differs between a checkpoint's facts and this pod's, in words. Pure."""
    found = []
    for name in ("versions", "hardware"):
        before, now = manifest.get(name, {}), current[name]
        keys = sorted(set(before) | set(now))
        found += [
            f"{key} {before.get(key)} -> {now.get(key)}"
            for key in keys
            if before.get(key) != now.get(key)
        ]
    if manifest.get("threads") != current["threads"]:
        found.append(f"threads {manifest.get('threads')} -> {current['threads']}")
    return found


def remove_half_made(folder: RunFolder) -> None:
    """Delete what killed attempts left without a manifest."""
    for name in folder.names("checkpoints"):
        if not folder.exists(f"checkpoints/{name}/{MANIFEST}"):
            folder.remove(f"checkpoints/{name}")
