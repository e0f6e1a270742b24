"""What happens after every optimizer step: metric event, validation, checkpoint, planned kill."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from transformers import TrainerCallback

from trainer import hardware
from trainer.checkpoints import Schedule
from trainer.data import Sample
from trainer.reporter import Reporter


def evaluation_steps(points: int, total: int) -> frozenset[int]:
    """`points` evenly spaced steps, the last step included. Pure."""
    return frozenset(round(total * k / points) for k in range(1, points + 1)) - {0}


class Narrator(TrainerCallback):  # type: ignore[misc]
    """Reports each step and decides about saving."""

    def __init__(
        self,
        reporter: Reporter,
        schedule: Schedule,
        held_out: list[Sample],
        eval_steps: frozenset[int],
        steps_per_epoch: int,
        interrupt_at: int | None,
        validated: frozenset[int] = frozenset(),
    ) -> None:
        self.reporter = reporter
        self.schedule = schedule
        self.held_out = held_out
        self.eval_steps = eval_steps
        self.steps_per_epoch = steps_per_epoch
        self.interrupt_at = interrupt_at
        self.validated = validated
        self.begun = time.monotonic()
        self.seconds = 0.0
        self.trainer: Any = None

    def attach(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The last attempt may have been stopped between saving this step and validating it.
        step = state.global_step
        if step in self.eval_steps and step not in self.validated:
            self._validate(step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begun = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds = time.monotonic() - self.begun
        self.trainer.step_finished()
        self.reporter.step = state.global_step
        control.should_save = self.schedule.due(state.global_step, self.seconds)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any
    ) -> None:
        if "loss" not in logs:
            return
        step = state.global_step
        self.reporter.add("metric", self._metric(step, state.max_steps, logs))
        if control.should_save or step == self.interrupt_at:
            self.reporter.try_flush()
        if step == self.interrupt_at:
            print(f"planned interruption after step {step}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if step in self.eval_steps:
            self._validate(step)
            if control.should_save:
                self.reporter.try_flush()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.schedule.saved(state.global_step)

    def _validate(self, step: int) -> None:
        value = self.trainer.validation_loss(self.held_out)
        payload = {"step": step, "epoch": self._epoch(step), "validation_loss": value}
        self.reporter.add("metric", payload)
        print(f"step {step} validation loss {value:.4f}", flush=True)

    def _epoch(self, step: int) -> float:
        return round(step / self.steps_per_epoch, 4)

    def _metric(self, step: int, total: int, logs: dict[str, Any]) -> dict[str, Any]:
        batch = self.trainer.last
        print(f"step {step}/{total} loss {logs['loss']:.4f} {self.seconds:.1f} s", flush=True)
        return {
            "step": step,
            "total_steps": total,
            "epoch": self._epoch(step),
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs["grad_norm"],
            "tokens": batch["tokens"],
            "supervised_tokens": batch["supervised"],
            "sample_ids": batch["sample_ids"],
            "seconds": round(self.seconds, 3),
            "tokens_per_s": round(batch["tokens"] / self.seconds, 1),
            "memory_mb": hardware.memory_mb(),
        }
