"""Checkpoints: when to save, what is stored, which ones are kept."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from brightrun.runfolder import RunFolder, checkpoint
from trainer import hardware
from trainer.reporter import Reporter
from trainer.uploads import Saved

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


def kept(complete: list[int], losses: Mapping[int, float]) -> set[int]:
    """Steps of the checkpoints that stay: the last three and the best by validation loss. Pure."""
    known = [step for step in complete if math.isfinite(losses.get(step, math.nan))]
    best = min(known, key=lambda step: (losses[step], -step), default=None)
    return {*sorted(complete)[-KEPT:], *([] if best is None else [best])}


class Publisher:
    """Stores local checkpoint folders and removes those that are not kept."""

    def __init__(self, folder: RunFolder, reporter: Reporter, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.reporter = reporter
        self.facts = facts
        self._losses: dict[int, float | None] = {}

    def publish(self, saved: Saved) -> None:
        """Upload, manifest last, then delete the checkpoints that are not kept. Repeatable.

        The event tells seconds from the local copy on, and for how long training stood still.
        """
        # What its steps were is told before they can no longer be repeated.
        self.reporter.try_flush()
        for name in UNWANTED:
            (saved.local / name).unlink(missing_ok=True)
        target = checkpoint(saved.step)
        # A half-made upload of a killed attempt may lie there.
        self.folder.remove(target)
        facts = {"step": saved.step, **saved.facts, **self.facts}
        manifest = self.folder.upload_folder(saved.local, target, facts)
        self._prune()
        size = sum(file["size"] for file in manifest["files"].values())
        payload = {
            "step": saved.step,
            "bytes": size,
            "seconds": round(time.monotonic() - saved.at, 3),
            "stalled_s": round(saved.stalled_s, 3),
        }
        self.reporter.add("checkpoint", payload)

    def _prune(self) -> None:
        complete = self.folder.checkpoints()
        for step in complete:
            if step not in self._losses:
                self._losses[step] = self._validation_loss(step)
        losses = {step: loss for step, loss in self._losses.items() if loss is not None}
        for step in set(complete) - kept(complete, losses):
            self.folder.remove(checkpoint(step))

    def _validation_loss(self, step: int) -> float | None:
        try:
            manifest = self.folder.manifest(checkpoint(step)) or {}
        except ValueError:  # no JSON: damaged, which a resume will find out
            return None
        return manifest.get("validation_loss")


def facts(threads: int, processes: str = "1") -> dict[str, Any]:
    """What a bit-exact resume needs to be the same. processes: how many, and how they share."""
    return {
        "versions": hardware.versions(),
        "threads": threads,
        "hardware": {**hardware.describe(), "processes": processes},
    }
