"""How much of the GPU's peak a step has used."""

from __future__ import annotations

from dataclasses import dataclass

from brightrun import gpus
from brightrun.physics import ModelProfile, training_flops
from trainer.batches import Step
from trainer.memory import Fit


@dataclass(frozen=True, slots=True)
class Throughput:
    """For one model on one kind of device, by the name that torch gives it ("cpu" for none)."""

    model: ModelProfile
    device: str
    count: int = 1

    def mfu(self, step: Step, fit: Fit, seconds: float) -> float | None:
        """Model FLOPs utilisation of a step (0-1): FLOPs / (seconds x peak); None without a GPU
        whose peak is known.

        After PaLM (Chowdhery et al. 2022, appendix B), with two differences: the base is frozen,
        so that no weight gradients are computed (4 N a token instead of 6 N), and activations that
        are computed twice count (2 N more, DOMAIN 5), so that forecast and run use one formula
        (`brightrun.physics.training_flops`, attention included). Padding is no use and not counted.
        """
        longest = max(batch.tokens for batch in step.micro)
        twice = fit.kept is not None and longest > fit.kept
        flops = training_flops(self.model, step.tokens, step.squares, twice)
        return gpus.mfu(flops, seconds, self.device, self.count)
