"""What is tried when a step does not fit into memory: smaller pieces of the same step. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from brightrun.errors import OutOfMemory
from brightrun.jobs import Hyperparameters
from trainer import failures, hardware
from trainer.batches import Cut

GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Fit:
    """How a step is computed. `kept`: sequences up to so many tokens keep their activations
    although checkpointing is on; None: checkpointing is off, all activations are kept."""

    cut: Cut
    kept: int | None

    def smaller(self) -> Fit | None:
        """The next try after this one did not fit; None when there is nothing smaller.

        Half the micro-batch, then rows are no longer packed, then every activation is computed
        twice. None of it changes global batch or result (up to floating point).
        """
        if self.cut.micro_batch > 1:
            return replace(self, cut=replace(self.cut, micro_batch=self.cut.micro_batch // 2))
        if self.cut.row is not None:
            return replace(self, cut=replace(self.cut, row=None))
        return replace(self, kept=0) if self.kept else None

    def words(self) -> str:
        """For people."""
        packed = "" if self.cut.row is None else " of packed rows"
        twice = ", activations computed twice" if self.kept == 0 else ""
        return f"micro-batch {self.cut.micro_batch}{packed}{twice}"


def resumed(
    chosen: int, asked: bool, before: int | None, same_hardware: bool
) -> tuple[int, str]:  # fmt: skip
    """(micro-batch to go on with, why that is not bit-exact or ""). Pure.

    An out-of-memory may have halved it before the checkpoint: on the same hardware a resume goes
    on with that, or dropout and rounding would differ from the unbroken run.
    """
    if before is None or before == chosen:
        return chosen, ""
    if same_hardware and not asked:
        return before, ""
    return chosen, (
        f"the run goes on with micro-batch {chosen}, before the resume it was {before}: the same "
        "up to floating point and dropout, no longer bit-exact"
    )


def hopeless(
    step: int, lengths: Sequence[int], values: Hyperparameters, failure: str,
    free: tuple[int, int] | None,
) -> OutOfMemory:  # fmt: skip
    """The error when one sequence at a time does not fit. `free`: (free, all) bytes of the GPU."""
    if free is None:
        space = f"{hardware.available_memory_mb() / 1000:.1f} GB of memory are free"
    else:
        space = f"{free[0] / GIGABYTE:.1f} of the GPU's {free[1] / GIGABYTE:.1f} GB are free"
    used = hardware.peak_memory_mb() / 1000
    return failures.out_of_memory(
        f"step {step} does not fit at micro-batch 1: its longest sequence has {max(lengths)} "
        f"tokens, {space}, the pod used up to {used:.1f} GB ({failure})",
        values,
        cause="model, optimizer and the activations of one sequence need more memory than this",
        otherwise=", or split the longest conversations",
    )
