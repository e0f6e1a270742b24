"""The course of a run over all its attempts: losses judged step by step, scored tokens counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brightrun.errors import TrainerError
from trainer import guards


class Course:
    """What must hold from step to step; every method raises TrainerError when it does not.

    supervised: labelled tokens of every step of an epoch's plan, by position in the run's plan.
    manifest: of the checkpoint that was resumed; empty at the beginning. probe_room: how far
    the resume's probe may be off, in nats.
    """

    def __init__(
        self, supervised: Sequence[int], steps_per_epoch: int, resumed_at: int = 0,
        manifest: dict[str, Any] | None = None, probe_room: float = guards.OTHERWISE,
    ) -> None:  # fmt: skip
        manifest = manifest or {}
        self.supervised = supervised
        self.steps_per_epoch = steps_per_epoch
        self.resumed_at = resumed_at
        self.before = guards.read_band(manifest.get("loss_band"))
        self.probe: float | None = manifest.get("probe")
        self.probe_room = probe_room
        self.first: list[float] = []
        self.losses: list[float] = []
        self.divergence = guards.Divergence()
        begun = resumed_at - resumed_at % steps_per_epoch
        # A checkpoint of an earlier version does not tell: then it is what was planned.
        planned = sum(supervised[begun:resumed_at])
        self.scored = int(manifest.get("scored_tokens", planned))
        self.epochs: list[int] = []

    def go_on_from(self, losses: Sequence[float]) -> None:
        """The losses of the steps before the resume, as the checkpoint holds them."""
        self.losses = list(losses)
        self.divergence = guards.Divergence(self.losses)

    def add(
        self, step: int, loss: float, scored: int, sample_ids: Sequence[str], learning_rate: float,
        grad_norm: float = 0.0,
    ) -> None:  # fmt: skip
        """Judge a finished step before anything of it is saved."""
        guards.check_finite(loss, step, sample_ids, learning_rate)
        # The loss is of the weights before the step: a broken gradient shows in the next one only.
        guards.check_finite(grad_norm, step, sample_ids, learning_rate, "gradient norm")
        if self.before is not None and len(self.first) < guards.FIRST_STEPS:
            self.first.append(loss)
            guards.check_continuity(self.before, self.first, self.resumed_at)
        self.losses = [*self.losses, loss][-guards.BAND_STEPS :]
        self.divergence.add(loss, step, learning_rate)
        self._count(step, scored)

    def _count(self, step: int, scored: int) -> None:
        self.scored += scored
        if step % self.steps_per_epoch:
            return
        epoch = step // self.steps_per_epoch
        wanted = sum(self.supervised[step - self.steps_per_epoch : step])
        if self.scored != wanted:
            raise TrainerError(
                f"epoch {epoch} was trained on {self.scored} supervised tokens, its data has "
                f"{wanted}",
                cause="sequences were left out, cut or trained on twice",
                fix="a fault in the trainer: report it with the attempt's events",
                fault="token_count",
            )
        self.epochs.append(self.scored)
        self.scored = 0

    @property
    def may_save(self) -> bool:
        """False while the loss is suspiciously high: such a state replaces no good checkpoint."""
        return not self.divergence.suspicious

    def facts(self) -> dict[str, Any]:
        """For the manifest of a checkpoint after the last step that was added."""
        band = guards.band(self.losses)
        known: dict[str, Any] = {"scored_tokens": self.scored}
        return known if band is None else {**known, "loss_band": band.as_dict()}

    def detail(self) -> dict[str, Any]:
        """For the end of the training stage: tokens scored in every epoch that ended here."""
        return {"scored_tokens": self.epochs, "supervised_tokens_per_epoch": self._per_epoch()}

    def _per_epoch(self) -> int:
        return sum(self.supervised[: self.steps_per_epoch])
