"""What to do after an attempt ended: a pure function of the job's history and its situation.

Infrastructure faults are retried on a new pod, elsewhere; trainer faults never are, but for one
out-of-memory that the pod could not mend by itself and whose error brings an adjustment which
leaves the result as it is. The next market and the waiting stand in `brightrun.choosing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from brightrun.choosing import next_market, waiting
from brightrun.errors import OutOfMemory
from brightrun.markets import innocent_run
from brightrun.outcomes import FINAL_STOPS
from brightrun.situation import Action, Past, Place, Policy, Situation

__all__ = ["Action", "Past", "Place", "Policy", "Situation", "next_action"]

# So long may storage or ledger be away while a pod is followed.
OUTAGE_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 15.0
# Before the pod after the first loss, the second, and every further one.
PAUSES_AFTER_LOSS = (1.0, 5.0, 30.0)


def next_action(history: Sequence[Past], policy: Policy, situation: Situation) -> Action:
    """history is ordered by attempt; an empty one means: launch the first pod."""
    return ending(history, policy, situation) or going_on(history, policy, situation)


def ending(history: Sequence[Past], policy: Policy, situation: Situation) -> Action | None:
    """Why no further pod is rented; None: one may be."""
    last = history[-1] if history else None
    if last is not None and last.outcome == "done":
        return Action(do="finished", why=f"attempt {last.attempt} finished")
    if last is not None and last.outcome == "failed" and not retried(history, policy):
        return Action(do="fail", why=last.reason or "the trainer failed")
    stops = (situation.stop, last.reason if last is not None and last.outcome == "stopped" else "")
    final = next((stop for stop in stops if stop in FINAL_STOPS), None)
    if final is not None:
        return Action(do="cancelled", why=f"stopped by {final}")
    if "pause" in stops:
        return Action(do="paused", why="paused: its newest checkpoint is kept")
    why = hopeless(history, policy, situation)
    fault = "killed" if convicted(history, policy, situation) else ""
    return Action(do="give_up", why=why, fault=fault) if why else None


def hopeless(history: Sequence[Past], policy: Policy, situation: Situation) -> str:
    """Why another pod would not help; "" = it may."""
    if convicted(history, policy, situation):
        return (
            f"{fruitless(history)} pods in a row were lost without a new step: possibly killed for "
            "want of memory, else a fault of the trainer, not an interruption"
        )
    if unbooted(history) >= policy.boot_failures:
        return (
            f"{policy.boot_failures} pods in a row never gave a sign of life: "
            "a fault of the image or the provider"
        )
    pods = sum(not past.missed or past.ended is None for past in history)
    return f"{policy.max_attempts} pods were lost" if pods >= policy.max_attempts else ""


def going_on(history: Sequence[Past], policy: Policy, situation: Situation) -> Action:
    """The next pod: on which market, when, and where not."""
    choice = next_market(history, policy, situation)
    if choice.stop:
        return Action(do="give_up", why=choice.why, over_limit=True)
    wait = waiting(history, policy, situation, offered=choice.offered)
    if wait is not None:
        return wait
    last = history[-1] if history else None
    why = "first pod of this job"
    if last is not None:
        why = f"attempt {last.attempt} was {last.outcome}: {last.reason}"
    return Action(
        do="launch",
        why=f"{why}; {choice.why}" if choice.why else why,
        market=choice.market,
        avoid=failed_places(history, policy, situation.now),
        adjustment=mending(history),
    )


def retried(history: Sequence[Past], policy: Policy) -> bool:
    """Whether the last attempt's failure is an out-of-memory that its adjustment may mend."""
    last = history[-1]
    failures = sum(past.outcome == "failed" for past in history)
    mended = last.reason == OutOfMemory.code and bool(last.suggested)
    return mended and failures <= policy.oom_retries


def mending(history: Sequence[Past]) -> dict[str, Any]:
    """The adjustment that every pod after an out-of-memory runs with, also after a loss."""
    failed = (past.suggested for past in reversed(history) if past.outcome == "failed")
    return next(failed, {})


def fruitless(history: Sequence[Past]) -> int:
    """Losses at the end of the history that brought nothing new.

    A pod that was not to be had or never booted is passed over; a wanted stop ends the count.
    """
    count = 0
    for past in reversed(history):
        if past.missed or past.unbooted:
            continue
        if not past.interrupted or past.progress > 0:
            break
        count += 1
    return count


def convicted(history: Sequence[Past], policy: Policy, situation: Situation) -> bool:
    """Whether so many pods in a row brought nothing new that no market is to blame."""
    return fruitless(history) >= convicting(history, policy, situation)


def convicting(history: Sequence[Past], policy: Policy, situation: Situation) -> int:
    """Fruitless losses in a row that are a fault of the trainer.

    Spot takes some pods before they can show anything new: more of those are needed there, until
    chance would do it less often than `doubt`.
    """
    rates = {s.market: s.interruptions_per_hour for s in situation.markets}
    last = next((past.market for past in reversed(history) if past.interrupted), None)
    rate = rates.get(last, 0.0) if last is not None else 0.0
    innocent = innocent_run(rate, situation.overhead_hours, policy.doubt)
    return max(policy.fruitless_losses, innocent)


def unbooted(history: Sequence[Past]) -> int:
    """Pods at the end of the history that were rented and never spoke."""
    count = 0
    for past in reversed(history):
        if past.missed:
            continue
        if not past.unbooted:
            break
        count += 1
    return count


def failed_places(history: Sequence[Past], policy: Policy, now: datetime) -> tuple[Place, ...]:
    """Where pods were lost or never booted a short while ago, the newest first."""
    since = now - timedelta(hours=policy.avoid_hours)
    return tuple(
        Place(data_center=past.data_center, gpu=past.gpu, at=past.ended, mute=past.unbooted)
        for past in reversed(history)
        if (past.interrupted or past.unbooted)
        and (past.data_center or past.gpu)
        and past.ended is not None
        and past.ended >= since
    )


def pause_after(failures: int, lasted: float) -> float | None:
    """Seconds until storage or ledger are asked again after they failed; None: give up.

    failures: in a row, from 1. lasted: seconds since the first of them.
    """
    if lasted > OUTAGE_SECONDS:
        return None
    return float(min(LONGEST_PAUSE_SECONDS, 2 ** min(failures - 1, 10)))
