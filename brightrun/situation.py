"""What recovery looks at and what it answers: values only, decided on in `brightrun.recovery`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from brightrun.frozen import Frozen
from brightrun.jobs import Market
from brightrun.markets import MarketState
from brightrun.outcomes import Ending, ending
from brightrun.settings import MAX_ATTEMPTS

# Choices of a pod that change memory and time, not the result (up to floating point).
SAME_RESULT = (
    "micro_batch", "grouped", "gradient_checkpointing", "activation_tokens", "optimizer",
)  # fmt: skip


class Past(Frozen):
    """One ended attempt. `progress`: steps, checkpoints and measured items no earlier one had.

    suggested: the adjustment that its error carried, where it leaves the result as it is.
    """

    attempt: int
    outcome: Literal["done", "failed", "lost", "stopped"]
    reason: str = ""
    progress: int = 0
    market: Market | None = None
    data_center: str = ""
    gpu: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    suggested: dict[str, Any] = Field(default_factory=dict)

    @property
    def ending(self) -> Ending:
        return ending(f"{self.outcome}:{self.reason}" if self.reason else self.outcome)

    @property
    def missed(self) -> bool:
        """No pod was to be had: nothing was rented."""
        return self.ending == Ending.missed

    @property
    def unbooted(self) -> bool:
        """Rented, billed, and never gave a sign of life."""
        return self.ending == Ending.unbooted

    @property
    def interrupted(self) -> bool:
        """Taken away or broken while it worked: its market's or its host's doing."""
        return self.ending == Ending.taken


def harmless(adjustment: Mapping[str, Any]) -> dict[str, Any]:
    """The adjustment if another pod may run with it unasked; {}: a person has to decide."""
    return dict(adjustment) if set(adjustment) <= set(SAME_RESULT) else {}


class Policy(Frozen):
    """How long recovery tries. The defaults come from docs/simulation.md."""

    max_attempts: int = Field(MAX_ATTEMPTS, description="Pods of a job before it is given up")
    switch_after: int = Field(3, description="Interruptions on a market before it is left ...")
    switch_premium: float = Field(0.25, description="... for one that costs at most so much more")
    last_resort: int = Field(10, description="Interruptions before it is left at any price")
    fruitless_losses: int = Field(2, description="In a row: a fault of the trainer, at least")
    doubt: float = Field(0.001, description="... and less likely than this to be the market's")
    boot_failures: int = Field(4, description="In a row: a fault of the image or the provider")
    oom_retries: int = Field(1, description="Pods with the adjustment of an out-of-memory")
    patience_hours: float = Field(6.0, description="Without a machine before a dearer one is taken")
    capacity_hours: float = Field(24.0, description="Longest wait for a free machine")
    first_wait_s: float = Field(30.0, description="Doubled after every miss ...")
    longest_wait_s: float = Field(900.0, description="... up to this")
    avoid_hours: float = Field(6.0, description="Where a pod failed is tried late for so long")


class Situation(Frozen):
    """What recovery knows besides the history.

    stop: reason of a request to stop that still stands. wish: the market that a person asked for,
    wish_after: the last attempt before they did. markets: on offer or not, none = as planned.
    remaining_hours: of undisturbed work, the next start included; overhead_hours: what one
    interruption costs; spent and limit: dollars of the whole job, limit None = none.
    """

    now: datetime
    stop: str = ""
    wish: Market | None = None
    wish_after: int = 0
    markets: tuple[MarketState, ...] = ()
    remaining_hours: float = Field(0.0, ge=0)
    overhead_hours: float = Field(0.0, ge=0)
    spent: Decimal = Decimal(0)
    limit: Decimal | None = None


class Place(Frozen):
    """Where a pod failed at that moment: lost, or (mute) it never spoke and may never there."""

    data_center: str = ""
    gpu: str = ""
    at: datetime | None = None
    mute: bool = False

    @property
    def name(self) -> tuple[str, str]:
        return self.data_center, self.gpu


class Action(Frozen):
    """market None: as planned. avoid: places to try last. wait_s: ask again after so long.

    over_limit: it was given up because the limit does not pay for the rest. fault: its name in
    brightrun.faults, of a job that is given up for one.
    """

    do: Literal["launch", "wait", "finished", "give_up", "fail", "cancelled", "paused"]
    why: str
    market: Market | None = None
    wait_s: float = 0.0
    over_limit: bool = False
    fault: str = ""
    avoid: tuple[Place, ...] = ()
    adjustment: dict[str, Any] = Field(default_factory=dict)
