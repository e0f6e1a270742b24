"""How long a killed job stands still: from the kill to the first step of the next pod. Pure.

Parts, each ending where the next begins: detect (the control plane finds the pod gone and rents
the next one), start (until the new pod's first sign of life: process, Python, storage), import
(torch and the libraries), load (data and base model), restore (checkpoint, optimizer, random
state), step (the first step itself). `repeated_s` is the work done again after that, from the
checkpoint to the step that the killed pod had reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from brightrun.frozen import Frozen
from brightrun.happening import Happening


class Restart(Frozen):
    """One restart, in seconds. `first_step_s` is the sum of the parts."""

    attempt: int
    resumed_from: int
    detect_s: float
    start_s: float
    import_s: float
    load_s: float
    restore_s: float
    step_s: float
    first_step_s: float
    repeated_steps: int
    repeated_s: float


def restarts(
    events: Sequence[Happening],
    launched: Mapping[int, datetime],
    killed: Mapping[int, datetime] | None = None,
) -> list[Restart]:
    """One per attempt that went on training after an earlier one had.

    launched: attempt -> when its pod was rented. killed: attempt -> when it was killed, where that
    is known; else its last event counts (up to 5 seconds too early: the heartbeat's interval).
    """
    by_attempt: dict[int, list[Happening]] = {}
    for event in events:
        if event.attempt > 0:
            by_attempt.setdefault(event.attempt, []).append(event)
    found, reached, ended = [], 0, None
    for attempt in sorted(by_attempt):
        mine = sorted(by_attempt[attempt], key=lambda event: event.ts)
        if ended is not None and reached and attempt in launched:
            restart = _restart(attempt, mine, ended, launched[attempt], reached)
            found += [] if restart is None else [restart]
        reached = max([reached, *(int(e.payload["step"]) for e in _steps(mine))])
        ended = (killed or {}).get(attempt, mine[-1].ts)
    return found


def _restart(
    attempt: int, events: Sequence[Happening], ended: datetime, launched: datetime, reached: int
) -> Restart | None:
    steps = _steps(events)
    preprocessing, training = _begun(events, "preprocessing"), _begun(events, "training")
    if not steps or preprocessing is None or training is None:
        return None
    first = steps[0]
    again = [event for event in steps if int(event.payload["step"]) <= reached]
    step_s = float(first.payload.get("seconds", 0.0))
    return Restart(
        attempt=attempt,
        resumed_from=int(first.payload["step"]) - 1,
        detect_s=_between(ended, launched),
        start_s=_between(launched, events[0].ts),
        import_s=_between(events[0].ts, preprocessing),
        load_s=_between(preprocessing, training),
        restore_s=max(0.0, _between(training, first.ts) - step_s),
        step_s=step_s,
        first_step_s=_between(ended, first.ts),
        repeated_steps=len(again),
        repeated_s=_between(first.ts, again[-1].ts) + step_s if again else 0.0,
    )


def _steps(events: Iterable[Happening]) -> list[Happening]:
    return [e for e in events if e.type == "metric" and "loss" in e.payload]


def _begun(events: Iterable[Happening], stage: str) -> datetime | None:
    for event in events:
        payload = event.payload
        if event.type == "stage" and payload["name"] == stage and payload["status"] == "started":
            return event.ts
    return None


def _between(since: datetime, until: datetime) -> float:
    return round(max(0.0, (until - since).total_seconds()), 3)
