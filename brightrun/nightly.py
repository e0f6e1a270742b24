"""Which files are trained tonight, and which night it is. Pure.

due(now, at, zone)                   -> "2026-11-23", the latest night that has come
decide(file, limit_left)             -> Decision(action, why)
night_of(request)                    -> the night that has asked for a job, "" for a person's
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Literal

from brightrun.frozen import Frozen
from brightrun.jobs import JobRequest

BY = "nightly"
NOTE = "night "

Action = Literal["train", "skip", "waits", "broken", "no_money"]


class NightFile(Frozen):
    """A registered file tonight. sha256: of its content now, "" when it cannot be read; trained:
    of what its last completed job was trained on, "" before there is one; waits: id of a job of
    this content that has not ended, "" without one; high_usd: the estimate's
    high end, None where it was not asked; defects: in words, the first ones."""

    name: str
    sha256: str
    trained: str
    waits: str = ""
    defects: tuple[str, ...] = ()
    high_usd: Decimal | None = None


class Decision(Frozen):
    name: str
    action: Action
    why: str


def decide(file: NightFile, left_usd: Decimal) -> Decision:
    """left_usd: of the night's budget. A broken file is told and keeps no other from its turn."""

    def said(action: Action, why: str) -> Decision:
        return Decision(name=file.name, action=action, why=why)

    if not file.sha256:
        return said("broken", "the file cannot be read")
    if file.sha256 == file.trained:
        return said("skip", "unchanged since its last completed job")
    if file.waits:
        return said("waits", f"job {file.waits} of this content has not ended: finish or cancel it")
    if file.defects:
        return said("broken", "; ".join(file.defects))
    if file.high_usd is not None and file.high_usd > left_usd:
        money = f"it may cost ${file.high_usd:,.2f}, ${left_usd:,.2f} of the night's budget is left"
        return said("no_money", money)
    return said("train", "changed" if file.trained else "never trained")


def due(now: datetime, at: time, zone: tzinfo) -> str:
    """The date of the latest night that has come: a missed one is caught up until the next one.

    A night begins at `at` of its zone, also where clocks change in it.
    """
    here = now.astimezone(zone)
    day = here.date() if here.time() >= at else here.date() - timedelta(days=1)
    return day.isoformat()


def note(night: str) -> str:
    """By which a night's jobs are known: of the request, which nobody edits."""
    return f"{NOTE}{night}"


def night_of(request: JobRequest) -> str:
    mine = request.requested_by == BY and request.notes.startswith(NOTE)
    return request.notes.removeprefix(NOTE) if mine else ""


def nights_between(last: str | None, night: str) -> int:
    """How many nights were missed since the last one that was begun."""
    if last is None:
        return 0
    return max(0, (date.fromisoformat(night) - date.fromisoformat(last)).days - 1)
