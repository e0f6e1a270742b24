"""What a rented pod did with its time, from launch to end, without gaps or overlaps. Pure.

    spans(pod, events, now) -> (Span("boot", 12_000_000), Span("model_loading", ...), ...)

Times of the pod's own clock are held inside the rented time: a clock that is wrong moves the
borders between spans, never their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from brightrun.frozen import Frozen
from brightrun.happening import Happening
from brightrun.money import microseconds

BOOT = "boot"
STARTING = "starting"
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
    """`what`: boot, starting, a pod's stage, between stages, lost work; whole microseconds."""

    what: str
    us: int


def spans(pod: Rented, events: Sequence[Happening], now: datetime) -> tuple[Span, ...]:
    """In order of time; events: of this attempt, in order. Their sum is the rented time.

    boot: from launch to the first sign of life, all of it when there was none; starting: from there
    to the first stage (imports). lost work: of a pod that did not bring its work to an end, what
    came after its last checkpoint or measured item.
    """
    end = max(pod.launched_at, pod.ended_at or now)
    first = events[0].ts if events else pod.started_at
    marks = [] if first is None else [(first, STARTING), *stage_marks(events)]
    if (kept := last_kept(pod, events)) is not None:
        marks = [(at, what) for at, what in marks if at <= kept] + [(kept, LOST)]
    found, at, what = [], pod.launched_at, BOOT
    for moment, following in [*marks, (end, "")]:
        until = min(end, max(at, moment))
        found.append(Span(what=what, us=microseconds(at, until)))
        at, what = until, following
    return tuple(span for span in found if span.us)


def stage_marks(events: Sequence[Happening]) -> list[tuple[datetime, str]]:
    """(moment, what begins then) of every stage's beginning and end, in order.

    A pod stamps events when it writes them, some at once: a finished stage lasted what it says, up
    to its end or to the beginning of the next one.
    """
    found: list[tuple[datetime, str]] = []
    limit: datetime | None = None
    for event in reversed(events):
        if event.type != "stage":
            continue
        name = str(event.payload["name"])
        if event.payload.get("status") == "finished":
            end = event.ts if limit is None else min(event.ts, limit)
            limit = end - timedelta(seconds=float(event.payload.get("elapsed_s") or 0.0))
            found += [(end, BETWEEN), (limit, name)]
        elif not found or found[-1][1] != name:  # one that has no end
            limit = event.ts if limit is None else min(event.ts, limit)
            found.append((limit, name))
    return found[::-1]


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
