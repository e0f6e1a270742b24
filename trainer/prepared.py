"""What preprocessing found, and what follows from it for the training. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brightrun.jobs import JobSpec
from brightrun.tokens import ChatTokenizer
from trainer import data, forecast, memory
from trainer.batches import Cut
from trainer.calibrate import Remaining
from trainer.choices import Choices
from trainer.course import Course
from trainer.memory import Fit
from trainer.narrator import evaluation_steps


@dataclass(slots=True)
class Prepared:
    """What preprocessing found."""

    spec: JobSpec
    base_folder: Path
    profile: dict[str, Any]
    tokenizer: ChatTokenizer
    training: list[data.Sample]
    held_out: list[data.Sample]
    plan: list[list[int]]

    def course(self, step: int, manifest: dict[str, Any], probe_room: float) -> Course:
        """What the guards know of the run up to `step`, whose checkpoint has this manifest;
        probe_room: see `guards.check_probe`."""
        counts = [sample.supervised for sample in self.training]
        planned = [sum(counts[position] for position in positions) for positions in self.plan]
        return Course(planned, self.spec.steps_per_epoch, step, manifest, probe_room)

    def cut(
        self, made: Choices, asked: bool, manifest: dict[str, Any], hardware: dict[str, str]
    ) -> tuple[Cut, str]:
        """How steps are divided (as before the resume, when that was on such a machine), and why
        that is not bit-exact or "". asked: the launch set the micro-batch or the grouping."""
        same = manifest.get("hardware") == hardware
        row = (made.packed.value or None) if manifest.get("packed", True) else None
        longest = max((len(sample.ids) for sample in self.training), default=0)
        grouped = made.grouped.value and row is None
        tokens = max(longest, made.grouped_tokens.value) if grouped else 0
        before = None
        if "micro_batch" in manifest:
            # A version that knew no grouping has counted sequences.
            tokens_then = manifest.get("grouped_tokens", 0)
            before = Cut(manifest["micro_batch"], manifest.get("row", row), tokens_then)
        return memory.resumed(Cut(made.micro_batch.value, row, tokens), asked, before, same)

    def remaining(self, mine: forecast.Mine, step: int, fit: Fit) -> Remaining:
        """What is left to compute after `step`, in such pieces, by the process that does `mine`."""
        return forecast.remaining(
            self.plan, self.training, self.held_out, fit.cut, step,
            evaluation_steps(self.spec.values.eval_points, len(self.plan)),
            fit.kept,
            mine,
        )  # fmt: skip
