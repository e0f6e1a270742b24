"""What a pod has before it, for its calibration: every micro-step of the rest of the plan. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from trainer import batches, packing
from trainer.batches import Cut
from trainer.calibrate import Remaining, Size
from trainer.data import Sample

# Costs of pieces of work -> positions of those that one process does, None where it has nothing.
Mine = Callable[[Sequence[int]], Sequence[int | None]]


def all_of_them(costs: Sequence[int]) -> Sequence[int]:
    """The share of a single process."""
    return range(len(costs))


def remaining(
    plan: Sequence[Sequence[int]],
    training: Sequence[Sample],
    held_out: Sequence[Sample],
    cut: Cut,
    step: int,
    validations: Iterable[int],
    recomputed_above: int | None,
    mine: Mine = all_of_them,
) -> Remaining:
    """The plan after `step`; validations: steps after which all of `held_out` is read.

    mine: this process's share of pieces of such costs, as `lockstep.Pace` gives it. The others work
    at the same time, and what this one waits for them is time between its steps.
    """
    lengths = [len(sample.ids) for sample in training]
    steps = [[lengths[position] for position in chosen] for chosen in plan]
    tokens = [sum(step) for step in steps]
    return Remaining(
        [share(micro_steps(chosen, cut), mine) for chosen in steps[step:]],
        tokens[step:],
        sum(tokens),
        sorted(validations),
        share([Size.of([len(sample.ids)]) for sample in held_out], mine),
        recomputed_above,
    )


def share(sizes: Sequence[Size], mine: Mine) -> list[Size]:
    """Those of `sizes` that this process computes."""
    return [sizes[at] for at in mine([size.tokens for size in sizes]) if at is not None]


def micro_steps(lengths: Sequence[int], cut: Cut) -> list[Size]:
    """Sizes of a step's micro-batches, as `batches.cut` makes them."""
    if cut.row is None:
        groups = batches.groups(lengths, cut)
        return [Size.of([lengths[at] for at in group]) for group in groups]
    rows = packing.rows(lengths, cut.row)
    packed = [
        [lengths[at] for row in rows[first : first + cut.micro_batch] for at in row]
        for first in range(0, len(rows), cut.micro_batch)
    ]
    return [Size(sum(row), sum(n * n for n in row)) for row in packed]
