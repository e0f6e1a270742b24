"""What happens after every optimizer step: metric event, validation, checkpoint, planned kill."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from transformers import TrainerCallback

from trainer import guards, hardware, probe, telemetry
from trainer.batches import padding_share
from trainer.checkpoints import Schedule
from trainer.course import Course
from trainer.data import Sample
from trainer.memory import Fit
from trainer.reporter import Reporter
from trainer.stall import StallWatch
from trainer.timing import by_part
from trainer.validation import validation_loss


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
        course: Course,
        stall: StallWatch,
        validated: frozenset[int] = frozenset(),
    ) -> None:
        self.reporter = reporter
        self.schedule = schedule
        self.held_out = held_out
        self.eval_steps = eval_steps
        self.steps_per_epoch = steps_per_epoch
        self.interrupt_at = interrupt_at
        self.course = course
        self.stall = stall
        self.validated = validated
        self.validation: dict[int, float] = {}
        self.begun = time.monotonic()
        self.seconds = self.saving = 0.0
        self.logged = self.begun
        self.trainer: Any = None

    def attach(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.course.go_on_from([entry["loss"] for entry in state.log_history if "loss" in entry])
        step = state.global_step
        if self.course.probe is not None:
            nats = probe.together(self.trainer, self._probed())
            guards.check_probe(self.course.probe, nats, self.course.probe_room, step)
        # The last attempt may have been stopped between saving this step and validating it.
        if step in self.eval_steps and step not in self.validated:
            self._validate(step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        waiting = time.monotonic()
        self.trainer.wait_for_storage()
        self.begun = time.monotonic()
        self.saving += self.begun - waiting
        self.schedule.waited(self.begun - waiting)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.step_finished()
        self.reporter.step = state.global_step

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any
    ) -> None:
        if "loss" not in logs:
            return
        step = state.global_step
        # The loss has been read: what a GPU does for this step is done.
        self.seconds = time.monotonic() - self.begun
        last = self.trainer.last
        ids = [sample.sample_id for sample in last.samples]
        self.course.add(step, logs["loss"], last.scored, ids, args.learning_rate, logs["grad_norm"])
        self.stall.stepped(step, self.seconds)
        last_step = step == state.max_steps
        due = self.schedule.due(step, self.seconds) or self.trainer.saver.lost
        control.should_save = due and (self.course.may_save or last_step)
        self.reporter.add("metric", self._metric(step, state.max_steps, logs))
        if step == self.interrupt_at:
            self.reporter.try_flush()
            print(f"planned interruption after step {step}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if step in self.eval_steps:
            self._validate(step)
            # The best state is worth keeping, also between two checkpoints.
            best = self.validation[step] <= min(self.validation.values())
            if best and self.course.may_save:
                control.should_save = True
        self.logged = time.monotonic()

    def out_of_memory(self, step: int, before: Fit, after: Fit, failure: str) -> None:
        """The step is done again in smaller pieces: a warning with the new setting."""
        self.reporter.warn(
            "out_of_memory",
            f"step {step} did not fit into memory at {before.words()}: done again with "
            f"{after.words()}",
            f"the step's longest sequences need more than there is: {failure}",
            "nothing: the global batch stays the same, and the result up to rounding; a pod with "
            "more memory is faster",
            step=step,
            micro_batch=[before.cut.micro_batch, after.cut.micro_batch],
            packed=[before.cut.row is not None, after.cut.row is not None],
            grouped_tokens=[before.cut.tokens, after.cut.tokens],
            kept=[before.kept, after.kept],
        )

    def tried_again(self, what: str, failure: str) -> None:
        """Something without smaller pieces ran out of memory and is done again: a warning."""
        self.reporter.warn(
            "out_of_memory",
            f"{what} did not fit into memory: it is done again after what nobody needs was freed",
            f"less memory is free than this needs: {failure}",
            "nothing, unless it comes back: then use a pod with more memory",
            step=self.trainer.state.global_step,
        )

    def in_any_order(self, failure: str) -> None:
        """A gradient kernel knows no fixed order of adding: a warning, and the step is repeated."""
        self.reporter.warn(
            "inexact_resume",
            "gradients on this GPU are the same up to rounding only: a resume is not bit-exact",
            failure,
            "nothing, unless runs must be reproducible bit for bit: then use another image",
            step=self.trainer.state.global_step + 1,
        )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.saving = time.monotonic() - self.logged
        self.stall.alive()

    def _validate(self, step: int) -> None:
        print(f"validating after step {step}", flush=True)
        value = validation_loss(self.trainer, self.held_out)
        guards.check_finite(value, step, (), self.trainer.args.learning_rate, "validation loss")
        self.validation[step] = value
        payload = {"step": step, "epoch": self._epoch(step), "validation_loss": value}
        self.reporter.add("metric", payload)
        print(f"step {step} validation loss {value:.4f}", flush=True)

    def facts(self, step: int) -> dict[str, Any]:
        """What the manifest of the checkpoint of `step` says about the training so far."""
        known = {"epoch": step / self.steps_per_epoch, **self.course.facts()}
        cut = self.trainer.fit.cut
        known |= {"micro_batch": cut.micro_batch, "grouped_tokens": cut.tokens}
        known |= {"packed": cut.row is not None, "row": cut.row}
        if step in self.validation:
            known["validation_loss"] = self.validation[step]
        nats = probe.at_save(self.trainer, self._probed())
        return known if nats is None else {**known, "probe": nats}

    def _probed(self) -> list[int]:
        return probe.text(self.held_out, self.trainer.work.samples)

    def _epoch(self, step: int) -> float:
        return round(step / self.steps_per_epoch, 4)

    def _metric(self, step: int, total: int, logs: dict[str, Any]) -> dict[str, Any]:
        last = self.trainer.last
        parts = by_part(self.trainer.step_logged())
        # Saving comes after the step's own metric: it is told with the next one.
        parts["checkpoint"], self.saving = round(self.saving, 4), 0.0
        print(f"step {step}/{total} loss {logs['loss']:.4f} {self.seconds:.1f} s", flush=True)
        return {
            "step": step,
            "total_steps": total,
            "epoch": self._epoch(step),
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs["grad_norm"],
            "tokens": last.tokens,
            "supervised_tokens": last.scored,
            "sample_ids": [sample.sample_id for sample in last.samples],
            "micro_batches": len(last.micro),
            "grouped_tokens": self.trainer.fit.cut.tokens,
            "kept": self.trainer.fit.kept,
            "padding_share": round(padding_share(last.micro), 4),
            "seconds": round(self.seconds, 3),
            "tokens_per_s": round(last.tokens / self.seconds, 1),
            "parts_s": parts,
            "mfu": self.trainer.mfu(self.seconds),
            "memory_mb": hardware.memory_mb(),
            "gpu_percent": telemetry.gpu_percent(),
        }
