"""One pod from rent to end, in seconds: what it gets done before the world takes it away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from brightrun.jobs import Market
from simulation.world import World

BOOT_DEADLINE = 600.0
End = Literal["done", "lost", "unbooted", "limit", "failed"]


@dataclass(slots=True)
class Work:
    """What a job has done. Seconds of training and measuring at this job's real pace.

    saved: training in the newest checkpoint; reached: the furthest that any pod came; measured:
    items are kept one by one.
    """

    training: float
    measuring: float
    interval: float
    saved: float = 0.0
    reached: float = 0.0
    measured: float = 0.0

    @property
    def share_left(self) -> float:
        left = self.training - self.saved + self.measuring - self.measured
        return left / (self.training + self.measuring)


@dataclass(frozen=True, slots=True)
class Life:
    """How a pod ended. Seconds since it was rented; first_step None: it made none.

    boot: the provider's share of the start. noticed: when its end was known to us. silent: until
    then it stood in the provider's list, and billed.
    """

    end: End
    lasted: float
    noticed: float
    boot: float
    first_step: float | None
    progress: bool
    silent: bool = True


def live(
    world: World, work: Work, market: Market, broken: bool, affordable: float, fails: bool = False
) -> Life:
    """Let a pod live; `work` is brought forward. affordable: seconds that the limit pays for.

    broken: the place cannot bring up our pod. fails: its first step does not fit into memory.
    """
    boot, lives = world.draw("boot"), world.lives(market)
    if broken:
        end = min(BOOT_DEADLINE, affordable)
        return Life("unbooted", end, end, end, None, False)
    setup = boot + sum(world.draw(part) for part in ("image", "imports", "weights"))
    if work.saved > 0:
        setup += world.draw("restore")
    step, stall = world.draw("first_step"), world.facts["save"]["stall"]
    slower = 1 + stall / work.interval
    train = (work.training - work.saved) * slower
    measure = work.measuring - work.measured
    whole = setup + train + measure + world.draw("finalization")
    if fails and setup + step < min(lives, affordable):
        return Life("failed", setup + step, setup + step, boot, None, False)
    end = min(lives, affordable, whole)
    made = end - setup
    first = setup + step if made >= step and work.saved < work.training else None
    if first is None and made > 0 and work.saved >= work.training:
        first = setup  # it goes on measuring at once
    progress = advance(work, made, train, slower, world.draw("upload"))
    if end == whole:
        return Life("done", end, end, boot, first, True)
    if end == affordable:
        return Life("limit", end, end, boot, first, progress)
    noticed, silent = end + world.draw("detection"), world.happens("loss", "silent")
    return Life("lost", end, noticed, min(boot, end), first, progress, silent)


def advance(work: Work, made: float, train: float, slower: float, upload: float) -> bool:
    """Bring the work `made` seconds forward, as far as it is kept; True: further than ever."""
    if made <= 0:
        return False
    before = (work.reached, work.measured)
    trained = min(made, train) / slower
    start = work.saved
    work.reached = max(work.reached, start + trained)
    kept = (made - upload) / slower if made < train else trained
    if made >= train:
        work.saved = work.training
        work.measured = min(work.measuring, work.measured + made - train)
    elif kept > 0:
        whole = (start + kept) // work.interval * work.interval
        work.saved = max(start, whole)
    return (work.reached, work.measured) > before
