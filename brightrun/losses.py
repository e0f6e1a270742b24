"""What interruptions cost a job in time and money, one by one. Pure.

Time: from the loss to the next pod's first step, and the work that it did again. Money: the same
pieces of the bill that the comparison with the estimate counts as interruptions (`reckoning`):
what the lost pod did after its last checkpoint, and what its successor had to do again before it
trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from brightrun.bill import Piece, pieces
from brightrun.frozen import Frozen
from brightrun.happening import Happening
from brightrun.ledger_rows import AttemptRow
from brightrun.money import microseconds, shown, to_usd
from brightrun.outcomes import Ending, ending
from brightrun.reckoning import AGAIN
from brightrun.restarts import Restart, restarts
from brightrun.spans import LOST


class Loss(Frozen):
    """One interruption. attempt: the pod that was lost; restart None: it had not trained yet."""

    attempt: int
    seconds: float
    usd: Decimal
    restart: Restart | None = None


def spoke(pods: Iterable[AttemptRow]) -> list[AttemptRow]:
    """Without those that were not to be had or never gave a sign of life."""
    return [p for p in pods if ending(p.outcome) not in (Ending.missed, Ending.unbooted)]


def successions(pods: Sequence[AttemptRow]) -> list[tuple[AttemptRow, AttemptRow]]:
    """Each interrupted pod, and the next one that spoke: what people are told of as interruptions.

    pods: all attempts of a job in order.
    """
    started = [p for p in spoke(pods) if p.started_at is not None or p.ended_at is not None]
    return [
        (pod, after)
        for pod in pods
        if pod.interrupted
        and (after := next((p for p in started if p.number > pod.number), None)) is not None
    ]


def losses(
    pods: Sequence[AttemptRow], events: Sequence[Happening], now: datetime
) -> tuple[Loss, ...]:
    """One per interrupted pod that was followed by another one, in order.

    pods: all attempts of a job in order; events: the job's. A loss whose next pod has not made
    its first step yet is not known and left out.
    """
    found = restarts(events, {pod.number: pod.launched_at for pod in pods})
    told = Told(
        trained=frozenset(e.attempt for e in events if e.type == "metric" and "loss" in e.payload),
        last={e.attempt: e.ts for e in sorted(events, key=lambda e: e.ts) if e.attempt > 0},
        again={restart.attempt: restart for restart in found},
    )
    bill = pieces(pods, events, now)
    return tuple(
        loss
        for pod, after in successions(pods)
        if (loss := loss_of(pod, paid(bill, pod, after), told)) is not None
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What a job's events say: pods that trained, last sign of each, restarts by pod."""

    trained: frozenset[int]
    last: Mapping[int, datetime]
    again: Mapping[int, Restart]


def paid(bill: Iterable[Piece], pod: AttemptRow, after: AttemptRow) -> Decimal:
    """Dollars for what the lost pod did in vain, and what it made the next ones do again."""

    def is_loss(piece: Piece) -> bool:
        if piece.attempt == pod.number:
            return piece.what == LOST
        return pod.number < piece.attempt <= after.number and piece.what in AGAIN

    return to_usd(sum(piece.micro for piece in bill if is_loss(piece)))


def loss_of(pod: AttemptRow, usd: Decimal, told: Told) -> Loss | None:
    """None: its successor does not train yet."""
    if pod.number not in told.trained:
        return Loss(attempt=pod.number, seconds=untrained(pod, told), usd=usd)
    after = min((number for number in told.trained if number > pod.number), default=0)
    restart = told.again.get(after)
    if restart is None:
        return None
    # The first step is among both, where it was done before.
    repeated = max(0.0, restart.repeated_s - restart.step_s)
    seconds = round(restart.first_step_s + repeated, 3)
    return Loss(attempt=pod.number, seconds=seconds, usd=usd, restart=restart)


def untrained(pod: AttemptRow, told: Told) -> float:
    """Seconds between the sign before it and its own last one; the restart after it has the rest,
    and all of it where it gave no sign."""
    before = max((n for n in told.last if n < pod.number), default=0)
    if pod.number in told.last:
        return _between(told.last.get(before, pod.launched_at), told.last[pod.number])
    return 0.0 if before else _between(pod.launched_at, pod.ended_at or pod.launched_at)


def _between(since: datetime, until: datetime) -> float:
    return microseconds(since, until) / 1_000_000


def went_on(pods: Sequence[AttemptRow], completed: bool, events: Iterable[Happening] = ()) -> bool:
    """Whether the job made a step after its last interruption, or came to its good end.

    events: the job's; a pod that still runs tells its steps only there.
    """
    last = max((pod.number for pod, _ in successions(pods)), default=0)
    after = [pod for pod in pods if pod.number > last]
    return (
        completed
        or any((pod.last_step or 0) > (pod.resumed_from or 0) for pod in after)
        or any(e.attempt > last and e.type == "metric" and "loss" in e.payload for e in events)
    )


def counted(times: int, resumed: bool) -> str:
    """ "interrupted 2x, resumed"; "" without an interruption. resumed: `went_on`."""
    return f"interrupted {times}x{', resumed' if resumed else ''}" if times else ""


def sentence(times: int, found: Iterable[Loss], resumed: bool) -> str:
    """ "Interrupted 2x, resumed successfully; 14 min and $0.58 lost"; "" without an interruption.

    times: interruptions, also those of which the loss is not known; resumed: `went_on`.
    """
    known = tuple(found)
    usd = sum((x.usd for x in known), Decimal(0))
    return said(times, sum(x.seconds for x in known), usd, bool(known), resumed)


def said(times: int, seconds: float, usd: Decimal, known: bool, resumed: bool) -> str:
    """The sentence of `sentence` from its sums."""
    if not times:
        return ""
    text = counted(times, resumed).capitalize() + (" successfully" if resumed else "")
    if not known:
        return text
    money = f"${usd:,.2f}" if usd >= Decimal("0.01") else shown(usd)
    return f"{text}; {span(seconds)} and {money} lost"


def span(seconds: float) -> str:
    """ "14 min"; "40 s" below two minutes; "2 h 05 min" from two hours on."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
