"""Checkpoints: when to save, what is stored, which ones are kept."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from brightrun.intervals import seconds_between, step_interval, steps_between
from brightrun.runfolder import RunFolder, checkpoint
from trainer import hardware
from trainer.reporter import Reporter
from trainer.uploads import Saved

KEPT = 3


class Schedule:
    """When to save, and what must be stored, so that a kill costs at most the interval.

    steps, minutes: the interval (a tenth of the total is one too); see `brightrun.intervals`.
    """

    def __init__(self, steps: int, minutes: float, total: int, resumed_at: int) -> None:
        self.interval = step_interval(steps, total)
        self.seconds = minutes * 60
        self.total = total
        # Step and time of the checkpoints, the newest last.
        self._saved = [(resumed_at, time.monotonic())]

    @property
    def last_step(self) -> int:
        return self._saved[-1][0]

    def due(self, step: int, step_seconds: float) -> bool:
        """After a step: whether to save now, by steps, by the clock, or because it was the last."""
        last, at = self._saved[-1]
        since = time.monotonic() - at
        return (
            step - last >= steps_between(self.interval)
            or since + step_seconds > seconds_between(self.seconds)
            or step == self.total
        )

    def saved(self, step: int) -> None:
        self._saved.append((step, time.monotonic()))

    def waited(self, seconds: float) -> None:
        """Training stood still so long: nothing more came to be at stake."""
        self._saved = [(step, at + seconds) for step, at in self._saved]

    def needed(self, step: int, step_seconds: float) -> int:
        """Before a step: the checkpoint that must be stored, or it would put too much at stake.

        The oldest that a kill at the end of this step may fall back to; the newest if none may.
        """
        end = time.monotonic() + step_seconds
        self._saved = [
            (at_step, at)
            for at_step, at in self._saved
            if step - at_step <= self.interval and end - at <= self.seconds
        ] or self._saved[-1:]
        return self._saved[0][0]


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
    """What a bit-exact resume needs to be the same, beside how the model computes
    (`loading.Base.computes`). processes: how many, and how they share."""
    return {
        "versions": hardware.versions(),
        "threads": threads,
        "hardware": {**hardware.describe(), "processes": processes},
    }
