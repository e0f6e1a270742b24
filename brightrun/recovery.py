"""What to do after an attempt ended: a pure function of the job's history.

Infrastructure faults are retried on a new pod; trainer faults never are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from brightrun.frozen import Frozen

# A person or a limit ended the job: no new pod is rented for it.
FINAL_STOPS = ("cancel", "budget")
# Wanted stops that say nothing against the pod.
HARMLESS_STOPS = ("pause", "switch", "lease", "superseded")

# So long may storage or ledger be away while a pod is followed.
OUTAGE_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 15.0


class Past(Frozen):
    """One ended attempt. `progress`: steps, checkpoints and measured items no earlier one had."""

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


def next_action(history: Sequence[Past], policy: Policy, stop: str = "") -> Action:
    """history is ordered by attempt; an empty one means: launch the first pod.

    stop: reason of a request to stop that still stands, also when no pod was there to obey it.
    """
    last = history[-1] if history else None
    if last is not None and last.outcome == "done":
        return Action(do="finished", why=f"attempt {last.attempt} finished")
    if last is not None and last.outcome == "failed":
        return Action(do="fail", why=last.reason or "the trainer failed")
    if stop in FINAL_STOPS:
        return Action(do="cancelled", why=f"stopped by {stop}")
    if last is None:
        return Action(do="launch", why="first pod of this job")
    if last.outcome == "stopped" and last.reason in FINAL_STOPS:
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


def pause_after(failures: int, lasted: float) -> float | None:
    """Seconds until storage or ledger are asked again after they failed; None: give up.

    failures: in a row, from 1. lasted: seconds since the first of them.
    """
    if lasted > OUTAGE_SECONDS:
        return None
    return float(min(LONGEST_PAUSE_SECONDS, 2 ** min(failures - 1, 10)))


def fruitless(history: Sequence[Past]) -> int:
    """Losses at the end of the history that brought nothing new; a wanted stop is no loss."""
    count = 0
    for past in reversed(history):
        harmless = past.outcome == "stopped" and past.reason in HARMLESS_STOPS
        if past.outcome not in ("lost", "stopped") or harmless or past.progress > 0:
            break
        count += 1
    return count


def advances(
    attempts: Mapping[int, Iterable[tuple[str, Mapping[str, Any]]]],
) -> dict[int, int]:
    """Attempt -> how many of its (type, payload) events went beyond every earlier attempt.

    A pod that dies again and again at the same step repeats its steps: that is no progress.
    """
    best: dict[str, int] = {}
    found = {}
    for attempt in sorted(attempts):
        reached = dict(best)
        found[attempt] = 0
        for kind, payload in attempts[attempt]:
            mark = _landmark(kind, payload)
            if mark is None:
                continue
            name, value = mark
            found[attempt] += value > best.get(name, 0)
            reached[name] = max(value, reached.get(name, 0))
        best = reached
    return found


def _landmark(kind: str, payload: Mapping[str, Any]) -> tuple[str, int] | None:
    if kind == "metric" and "loss" in payload:
        return "step", int(payload["step"])
    if kind == "checkpoint":
        return "checkpoint", int(payload["step"])
    if kind == "progress" and "done" in payload:
        return f"{payload['stage']} {payload.get('what', '')}", int(payload["done"])
    return None
