"""What a job has cost so far and what for, to the micro-dollar. Pure.

    bill(pods, events, now) -> Bill, whose lines sum to the ledger's cost of the job

Each pod's bill is split by what it did with its time (`spans`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from brightrun.counting import count
from brightrun.frozen import Frozen
from brightrun.happening import Happening
from brightrun.ledger_rows import AttemptRow
from brightrun.money import microseconds, rental, shown, split, to_micro, to_usd
from brightrun.spans import BOOT, LOST, Span, spans

COMPUTE = "compute"
WASTED = "boot waste"
WORDS = {
    COMPUTE: "the work that counts",
    BOOT: "from launch to the first sign of life",
    WASTED: "all of a pod that ended without a sign of life",
    LOST: "after the last checkpoint of pods that did not bring it to an end",
}


class Line(Frozen):
    """One line of a bill; `basis` says how it was found."""

    name: str
    usd: Decimal
    seconds: float
    basis: str


class Bill(Frozen):
    """A job's cost at `at`; usd is the sum of the lines. notional: nobody sends an invoice.

    beside: its share of what is billed by the month (`monthly`), no part of usd.
    """

    lines: tuple[Line, ...]
    usd: Decimal
    at: datetime
    pods: int
    notional: bool
    beside: tuple[Line, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """{usd, notional, pods, at, lines: [{name, usd, seconds, basis}], beside: the same shape};
        dollars are exact."""

        def row(x: Line) -> dict[str, Any]:
            return {"name": x.name, "usd": float(x.usd), "seconds": x.seconds, "basis": x.basis}

        return {
            "usd": float(self.usd),
            "notional": self.notional,
            "pods": self.pods,
            "at": self.at.isoformat(),
            "lines": [row(line) for line in self.lines],
            "beside": [row(line) for line in self.beside],
        }


class Piece(Frozen):
    """What a pod did for some time, and what that cost. mute: it ended without a sign of life."""

    attempt: int
    what: str
    us: int
    micro: int
    mute: bool = False


def bill(pods: Sequence[AttemptRow], events: Iterable[Happening], now: datetime) -> Bill:
    """pods: all attempts of a job in order; events: all of the job's, in order by attempt."""
    found = pieces(pods, events, now)
    lines = [line_of(name, found, pods) for name in WORDS]
    shown_lines = tuple(line for line in lines if line.usd or line.name == COMPUTE)
    return Bill(
        lines=shown_lines,
        usd=to_usd(sum(piece.micro for piece in found)),
        at=now,
        pods=len(pods),
        notional=all(pod.provider == "local" for pod in pods),
    )


def pieces(
    pods: Sequence[AttemptRow], events: Iterable[Happening], now: datetime
) -> tuple[Piece, ...]:
    """The bill of every pod, split by what it did; the pieces of a pod sum to its bill."""
    said: dict[int, list[Happening]] = {pod.number: [] for pod in pods}
    for event in events:
        if event.attempt in said:
            said[event.attempt].append(event)
    found: list[Piece] = []
    for pod in pods:
        # A pod that was never had has no time; what it may have cost is boot all the same.
        parts = spans(pod, said[pod.number], now) or (Span(what=BOOT, us=0),)
        mute = pod.ended_at is not None and pod.started_at is None and not said[pod.number]
        amounts = split(cost_micro(pod, now), [part.us for part in parts])
        found += [
            Piece(attempt=pod.number, what=part.what, us=part.us, micro=micro, mute=mute)
            for part, micro in zip(parts, amounts, strict=True)
        ]
    return tuple(found)


def cost_micro(pod: AttemptRow, now: datetime) -> int:
    """Micro-dollars of a pod by now, as the ledger counts them."""
    if pod.cost_usd is not None:
        return to_micro(pod.cost_usd)
    return rental(to_micro(pod.usd_per_hour), microseconds(pod.launched_at, now))


def line_of(name: str, found: Sequence[Piece], pods: Sequence[AttemptRow]) -> Line:
    mine = [piece for piece in found if line_name(piece) == name]
    seconds = sum(piece.us for piece in mine) / 1e6
    prices = {pod.number: pod.usd_per_hour for pod in pods}
    each = dict.fromkeys(prices[piece.attempt] for piece in mine)
    at = " and ".join(f"{shown(price)}/h" for price in each)
    rented = count(len({piece.attempt for piece in mine}), "pod")
    basis = f"{seconds:,.1f} s of {rented} at {at}: {WORDS[name]}" if mine else "no pod yet"
    return Line(name=name, usd=to_usd(sum(p.micro for p in mine)), seconds=seconds, basis=basis)


def line_name(piece: Piece) -> str:
    """The line of a bill that a piece belongs to."""
    if piece.what == BOOT:
        return WASTED if piece.mute else BOOT
    return LOST if piece.what == LOST else COMPUTE
