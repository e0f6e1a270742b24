"""What to do after an attempt ended: a pure function of the job's history.

Infrastructure faults are retried on a new pod; trainer faults never are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Past(Frozen):
    """One ended attempt. `progress` grows with every step, checkpoint and measured item."""

    attempt: int
    outcome: Literal["done", "failed", "lost", "stopped"]
    reason: str = ""
    progress: int = 0


class Policy(Frozen):
    max_attempts: int = 6
    fruitless_losses: int = 2


class Action(Frozen):
    do: Literal["launch", "finished", "give_up", "fail", "cancelled"]
    why: str


def next_action(history: Sequence[Past], policy: Policy) -> Action:
    """history is ordered by attempt; an empty one means: launch the first pod."""
    if not history:
        return Action(do="launch", why="first pod of this job")
    last = history[-1]
    if last.outcome == "done":
        return Action(do="finished", why=f"attempt {last.attempt} finished")
    if last.outcome == "failed":
        return Action(do="fail", why=last.reason or "the trainer failed")
    if last.outcome == "stopped" and last.reason in ("cancel", "budget"):
        return Action(do="cancelled", why=f"stopped by {last.reason}")
    if fruitless(history) >= policy.fruitless_losses:
        return Action(
            do="give_up",
            why=f"{policy.fruitless_losses} pods in a row were lost without a new step: "
            "a fault of the trainer, not an interruption",
        )
    if len(history) >= policy.max_attempts:
        return Action(do="give_up", why=f"{policy.max_attempts} pods were lost")
    return Action(do="launch", why=f"attempt {last.attempt} was {last.outcome}: {last.reason}")


def fruitless(history: Sequence[Past]) -> int:
    """Losses at the end of the history that brought nothing new; a wanted stop is no loss."""
    count = 0
    for past in reversed(history):
        wanted_stop = past.outcome == "stopped" and past.reason in ("pause", "switch", "lease")
        if past.outcome not in ("lost", "stopped") or wanted_stop or past.progress > 0:
            break
        count += 1
    return count
