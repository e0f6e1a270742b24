"""How much a kill may cost, and how often a checkpoint is taken so that it never costs more.

A checkpoint is stored while training goes on. So one is taken before the interval is over, and the
rest of the interval may pass beside its storing.
"""

from __future__ import annotations

# Share of the interval that is left for the storing.
SPARE = 0.25


def step_interval(checkpoint_steps: int, total_steps: int) -> int:
    """Steps that a kill may cost, before the clock is asked: min(N, total / 10), but 2 if N allows.

    With one, training would stand still while each checkpoint is stored.
    """
    return min(checkpoint_steps, max(2, total_steps // 10))


def steps_between(interval: int) -> int:
    """Steps between two checkpoints: three quarters of the interval, 1 at least."""
    return max(1, interval - max(1, int(interval * SPARE)))


def seconds_between(interval: float) -> float:
    """Seconds between two checkpoints, of an interval in seconds."""
    return interval * (1 - SPARE)
