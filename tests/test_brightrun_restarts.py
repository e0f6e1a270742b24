"""Time from the kill of a pod to the next pod's first step, in its parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from brightrun.restarts import restarts
from brightrun.runfolder import Event, EventType

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def event(attempt: int, when: float, type_: EventType, **payload: Any) -> Event:
    return Event(ts=at(when), attempt=attempt, seq=1, type=type_, payload=payload)


def pod(attempt: int, begun: float, steps: range) -> list[Event]:
    """Heartbeat, 4 s of imports, 10 s of loading, 2 s of restoring, steps of 3 s."""
    told = [
        event(attempt, begun, "heartbeat", stage="starting"),
        event(attempt, begun + 4, "stage", name="preprocessing", status="started"),
        event(attempt, begun + 14, "stage", name="training", status="started"),
    ]
    for count, step in enumerate(steps, start=1):
        done = begun + 16 + 3 * count
        told.append(event(attempt, done, "metric", step=step, loss=1.0, seconds=3.0))
    return told


def test_the_parts_add_up_to_the_time_from_kill_to_first_step() -> None:
    events = pod(1, 0, range(1, 6)) + pod(2, 100, range(4, 9))
    (found,) = restarts(events, {1: at(-1), 2: at(98)}, {1: at(60)})
    assert (found.attempt, found.resumed_from) == (2, 3)
    assert found.model_dump(include={"detect_s", "start_s", "import_s", "load_s"}) == {
        "detect_s": 38, "start_s": 2, "import_s": 4, "load_s": 10,
    }  # fmt: skip
    assert (found.restore_s, found.step_s) == (2, 3)
    assert found.first_step_s == 59 == 38 + 2 + 4 + 10 + 2 + 3
    # Steps 4 and 5 were done before.
    assert (found.repeated_steps, found.repeated_s) == (2, 6)


def test_without_a_known_kill_the_last_event_counts() -> None:
    events = pod(1, 0, range(1, 6)) + pod(2, 100, range(6, 9))
    (found,) = restarts(events, {2: at(90)})
    assert found.detect_s == 90 - 31
    assert found.repeated_steps == 0


def test_only_attempts_that_went_on_training_count() -> None:
    dead = [event(2, 50, "heartbeat", stage="starting")]
    events = pod(1, 0, range(1, 6)) + dead + pod(3, 100, range(4, 9))
    (found,) = restarts(events, {1: at(0), 2: at(49), 3: at(98)})
    assert found.attempt == 3
    assert found.detect_s == 48
    assert restarts(pod(1, 0, range(1, 6)), {1: at(0)}) == []
