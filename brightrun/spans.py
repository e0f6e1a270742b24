"""What a rented pod did with its time, from launch to end, without gaps or overlaps. Pure.

    spans(pod, events, now) -> (Span("boot", 12_000_000), Span("model_loading", ...), ...)

Times of the pod's own clock are held inside the rented time: a clock that is wrong moves the
borders between spans, never their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from brightrun.frozen import Frozen
from brightrun.happening import Happening
from brightrun.money import microseconds

BOOT = "boot"
BETWEEN = "between stages"
LOST = "lost work"


class Rented(Protocol):
    """What is needed of an attempt (`ledger.AttemptRow`); ended_at None: it still bills."""

    @property
    def number(self) -> int: ...
    @property
    def launched_at(self) -> datetime: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def outcome(self) -> str: ...


class Span(Frozen):
    """`what`: boot, a pod's stage, between stages, or lost work; in whole microseconds."""

    what: str
    us: int


def spans(pod: Rented, events: Sequence[Happening], now: datetime) -> tuple[Span, ...]:
    """In order of time; events: of this attempt, in order. Their sum is the rented time.

    boot: from launch to the first sign of life, all of it when there was none. lost work: of a pod
    that did not bring its work to an end, what came after its last checkpoint or measured item.
    """
    end = max(pod.launched_at, pod.ended_at or now)
    first = events[0].ts if events else pod.started_at
    marks = [] if first is None else [(first, BETWEEN), *stage_marks(events)]
    if (kept := last_kept(pod, events)) is not None:
        marks = [(at, what) for at, what in marks if at <= kept] + [(kept, LOST)]
    found, at, what = [], pod.launched_at, BOOT
    for moment, following in [*marks, (end, "")]:
        until = min(end, max(at, moment))
        found.append(Span(what=what, us=microseconds(at, until)))
        at, what = until, following
    return tuple(span for span in found if span.us)


def stage_marks(events: Sequence[Happening]) -> list[tuple[datetime, str]]:
    """(moment, what begins then) of every stage's beginning and end."""
    found = []
    for event in events:
        if event.type == "stage":
            began = event.payload.get("status") == "started"
            found.append((event.ts, str(event.payload["name"]) if began else BETWEEN))
    return found


def last_kept(pod: Rented, events: Sequence[Happening]) -> datetime | None:
    """When a pod that ended too early had last put something safe; None: nothing was lost (yet).

    Without a checkpoint or measured item that is its first sign of life: all is done again.
    """
    if pod.ended_at is None or pod.outcome == "done" or not events:
        return None
    safe = [event.ts for event in events if is_kept(event)]
    return safe[-1] if safe else events[0].ts


def is_kept(event: Happening) -> bool:
    """A checkpoint or measured items: later pods build on them."""
    if event.type == "progress":
        return event.payload.get("stage") == "measuring"
    return event.type == "checkpoint"
