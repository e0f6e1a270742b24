"""What is tried when a step does not fit into memory: smaller pieces of the same step. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from brightrun.errors import OutOfMemory
from brightrun.jobs import Hyperparameters
from trainer import failures, hardware
from trainer.batches import Cut
from trainer.choices import Choices

GIGABYTE = 1_000_000_000
PAGED = "paged_adamw_32bit"


@dataclass(frozen=True, slots=True)
class Fit:
    """How a step is computed. `kept`: sequences up to so many tokens keep their activations
    although checkpointing is on; None: checkpointing is off, all activations are kept."""

    cut: Cut
    kept: int | None

    def smaller(self, longest: int) -> Fit | None:
        """The next try after a step whose longest sequence has `longest` tokens did not fit; None
        when there is nothing smaller.

        Half the tokens at once, then one sequence at a time; or half the micro-batch. Then rows are
        no longer packed, then every activation is computed twice. None of it changes the global
        batch, or the result by more than floating point (dropout: see `trainer.dropout`).
        """
        cut = self.cut
        if cut.tokens:
            half = cut.tokens // 2
            less = replace(cut, tokens=half) if half >= longest else Cut(1)
            return replace(self, cut=less)
        if cut.micro_batch > 1:
            return replace(self, cut=replace(cut, micro_batch=cut.micro_batch // 2))
        if cut.row is not None:
            return replace(self, cut=replace(cut, row=None))
        return replace(self, kept=0) if self.kept else None

    def words(self) -> str:
        """For people."""
        twice = ", activations computed twice" if self.kept == 0 else ""
        return f"{self.cut.words()}{twice}"


def may_recompute(made: Choices, values: Hyperparameters) -> bool:
    """Whether activations may be computed twice: chosen for this machine, or left to an out of
    memory by a spec that allows it."""
    return made.gradient_checkpointing.value or values.gradient_checkpointing


def resumed(
    chosen: Cut, asked: bool, before: Cut | None, same_hardware: bool
) -> tuple[Cut, str]:  # fmt: skip
    """(how steps are divided from now on, why that is not bit-exact or ""). Pure.

    An out-of-memory may have made it smaller before the checkpoint: on the same hardware a resume
    goes on with that, or rounding would differ from the unbroken run.
    """
    if before is None or before == chosen:
        return chosen, ""
    if same_hardware and not asked:
        return before, ""
    return chosen, (
        f"the run goes on with {chosen.words()}, before the resume it was {before.words()}: the "
        "same up to floating point, no longer bit-exact"
    )


def hopeless(
    happened: str, values: Hyperparameters, failure: str, free: tuple[int, int] | None
) -> OutOfMemory:
    """The error when one sequence at a time does not fit. `free`: (free, all) bytes of the GPU."""
    return failures.out_of_memory(
        f"{happened}, {numbers(free)} ({failure})",
        values,
        cause="model, optimizer and the activations of one sequence need more memory than this",
        otherwise=", or split the longest conversations",
    )


def update_too_large(
    step: int, optimizer: str, values: Hyperparameters, failure: str, free: tuple[int, int] | None
) -> OutOfMemory:
    """The error when the optimizer has no memory for the update of `step`."""
    happened = f"the update of step {step} by {optimizer} does not fit, {numbers(free)} ({failure})"
    cause = "model, gradients and the optimizer's two moments need more memory than this"
    if free is None or optimizer == PAGED:
        return failures.out_of_memory(happened, values, cause=cause)
    paged = {"optimizer": PAGED}
    return OutOfMemory(
        happened,
        cause=cause,
        fix=f"begin the next pod with BRIGHTRUN_CHOICES='{json.dumps(paged)}': its moments leave "
        "the GPU's memory when they must",
        adjustment=paged,
        fault="out_of_memory",
    )


def without_part(error: Exception, fit: Fit, longest: int, values: Hyperparameters) -> Exception:
    """The error of a process that could not even take part in a step, whose longest sequence has
    `longest` tokens; out of memory: with what a new pod should begin with, where there is something
    smaller than `fit`."""
    if not failures.is_out_of_memory(error):
        return error
    smaller = fit.smaller(longest)
    # A launch can count sequences, not tokens: what is grouped is computed one by one there.
    if smaller is not None and smaller.cut.tokens:
        smaller = replace(smaller, cut=Cut(1))
    if smaller is None or smaller.cut.row != fit.cut.row:
        return failures.out_of_memory(str(error), values)
    adjustment: dict[str, object] = {"micro_batch": smaller.cut.micro_batch, "grouped": False}
    if smaller.kept == 0:
        # Where the next pod's estimate would keep all of them, no number of tokens is asked for.
        adjustment |= {"gradient_checkpointing": True, "activation_tokens": 0}
    return OutOfMemory(
        str(error),
        cause=f"{fit.words()} leaves no memory for the layers that are gathered",
        fix=f"begin the next pod smaller: BRIGHTRUN_CHOICES='{json.dumps(adjustment)}'",
        adjustment=adjustment,
        fault="out_of_memory",
    )


def numbers(free: tuple[int, int] | None) -> str:
    """What is free and what the pod used, for people."""
    if free is None:
        space = f"{hardware.available_memory_mb() / 1000:.1f} GB of memory are free"
    else:
        space = f"{free[0] / GIGABYTE:.1f} of the GPU's {free[1] / GIGABYTE:.1f} GB are free"
    return f"{space}, the pod used up to {hardware.peak_memory_mb() / 1000:.1f} GB"
