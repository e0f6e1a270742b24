"""The provider's bill against the ledger, pod by pod: every cent of difference with its reason.

    compare(billed, rented, since, now) -> Reconciliation

Pure. A difference is what was billed less what the ledger says, of the same time; the differences
of all pods of ours sum to the difference of the totals, to the micro-dollar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from brightrun.compute.provider import OURS, Billed, is_foreign
from brightrun.frozen import Frozen
from brightrun.ledger_rows import AttemptRow

# Bills are cut into whole seconds; one more may fall to either end of the time that is looked at.
ROUNDING_SECONDS = 2.0
# A bill that is made later than this is not merely late.
LATE = timedelta(days=1)
AFTERWARDS = timedelta(hours=1)
CENT = Decimal("0.005")  # what rounds to a cent


class Difference(Frozen):
    """One pod; difference_usd > 0: billed more than the ledger knows. alarm: look at it now.

    final: the bill will not change any more, and holds the pod's whole time.
    """

    pod_id: str
    pod_name: str
    job_id: str
    attempt: int
    billed_usd: Decimal
    ledger_usd: Decimal
    difference_usd: Decimal
    reason: str
    alarm: bool = False
    final: bool = False


class Reconciliation(Frozen):
    """A provider's bill and the ledger from `since` to `now`; notional: nobody sends an invoice.

    differences: pods of ours that differ at all, the largest first. others_usd: billed for pods
    that the ledger does not know and that do not carry our prefix, as far as names are known.
    """

    provider: str
    notional: bool
    since: datetime
    now: datetime
    pods: int
    billed_usd: Decimal
    ledger_usd: Decimal
    differences: tuple[Difference, ...]
    others: int
    others_usd: Decimal

    @property
    def difference_usd(self) -> Decimal:
        return self.billed_usd - self.ledger_usd

    @property
    def alarms(self) -> tuple[Difference, ...]:
        return tuple(found for found in self.differences if found.alarm)

    @property
    def to_be_booked(self) -> tuple[Difference, ...]:
        """What the bill decides: the ledger's own reckoning of these pods was only close to it."""
        return tuple(found for found in self.differences if found.final)

    @property
    def worth_telling(self) -> tuple[Difference, ...]:
        """Differences that round to a cent or more, and alarms."""
        return tuple(d for d in self.differences if d.alarm or abs(d.difference_usd) >= CENT)

    def as_json(self) -> dict[str, Any]:
        """Dollars as numbers, moments in ISO 8601; all differences, also those below a cent."""
        found = self.model_dump(mode="json", exclude={"differences"})
        money = ("billed_usd", "ledger_usd", "others_usd")
        rows = [
            {**d.model_dump(mode="json"), **{k: float(getattr(d, k)) for k in DOLLARS}}
            for d in self.differences
        ]
        return {
            **found,
            **{name: float(getattr(self, name)) for name in money},
            "difference_usd": float(self.difference_usd),
            "alarms": len(self.alarms),
            "differences": rows,
        }


DOLLARS = ("billed_usd", "ledger_usd", "difference_usd")


def compare(
    billed: Iterable[Billed],
    rented: Sequence[tuple[AttemptRow, Decimal]],
    *,
    provider: str,
    notional: bool,
    since: datetime,
    now: datetime,
    owner: str = "",
) -> Reconciliation:
    """rented: every attempt at the provider in that time, with the ledger's dollars of it; owner:
    `Ledger.owner`, by which another ledger's pods are known as others'."""
    by_id: dict[str, list[Billed]] = {}
    for row in billed:
        by_id.setdefault(row.pod_id, []).append(row)
    known: list[Difference] = []
    for pod, usd in rented:
        mine = taken(pod, by_id)
        if mine or usd:
            known.append(of_pod(pod, usd, mine, since, now))
    strange = [of_stranger(rows, rented, owner) for rows in by_id.values()]
    ours = [d for d in strange if d.alarm]
    others = [d for d in strange if not d.alarm]
    found = [*known, *ours]
    return Reconciliation(
        provider=provider,
        notional=notional,
        since=since,
        now=now,
        pods=len(found),
        billed_usd=sum((d.billed_usd for d in found), Decimal(0)),
        ledger_usd=sum((d.ledger_usd for d in found), Decimal(0)),
        differences=tuple(
            sorted(
                (d for d in found if d.difference_usd or d.alarm),
                key=lambda d: (-abs(d.difference_usd), d.pod_name, d.pod_id),
            )
        ),
        others=len(others),
        others_usd=sum((d.billed_usd for d in others), Decimal(0)),
    )


def taken(pod: AttemptRow, by_id: dict[str, list[Billed]]) -> list[Billed]:
    """The bill's rows of a pod, which are taken out: by the provider's id, else by its name."""
    if pod.pod_id and pod.pod_id in by_id:
        return by_id.pop(pod.pod_id)
    same = next((key for key, rows in by_id.items() if rows[0].name == pod.pod_name), None)
    return [] if same is None else by_id.pop(same)


def of_pod(
    pod: AttemptRow, usd: Decimal, rows: Sequence[Billed], since: datetime, now: datetime
) -> Difference:
    """A pod of the ledger, whether it is on the bill or not."""
    billed = sum((row.usd for row in rows), Decimal(0))
    late = pod.ended_at is not None and any(
        row.start >= pod.ended_at + AFTERWARDS and row.usd for row in rows
    )
    return Difference(
        pod_id=pod.pod_id,
        pod_name=pod.pod_name,
        job_id=pod.job_id,
        attempt=pod.number,
        billed_usd=billed,
        ledger_usd=usd,
        difference_usd=billed - usd,
        reason="billed after its books were closed: it may still run"
        if late
        else reason(pod, billed - usd, rows, now),
        alarm=late,
        final=bool(rows) and not late and is_over(pod, since, now),
    )


def is_over(pod: AttemptRow, since: datetime, now: datetime) -> bool:
    """Whether its whole time lies behind `since` and its bill can come no more."""
    return pod.launched_at >= since and pod.ended_at is not None and now - pod.ended_at >= LATE


def reason(pod: AttemptRow, apart: Decimal, rows: Sequence[Billed], now: datetime) -> str:
    """The probable cause of a difference, the surest first; "" without one."""
    if not apart:
        return ""
    if pod.ended_at is None:
        return "still running: the bill is behind the ledger"
    if not rows:
        return missing(pod, now)
    disk = sum((row.disk_usd for row in rows), Decimal(0))
    seconds, beside = seconds_of(apart, pod), seconds_of(apart - disk, pod)
    if disk and beside is not None and abs(beside) <= ROUNDING_SECONDS:
        return f"the pod's disk (${disk:.4f}), which the ledger does not count"
    if seconds is None:
        return "billed although the ledger has it free"
    if abs(seconds) <= ROUNDING_SECONDS:
        return f"rounding: {abs(seconds):.1f} s of rent; bills are cut into whole seconds"
    if seconds < 0:
        return (
            f"boot seconds: {-seconds:,.0f} s are not billed; the ledger counts from before the "
            "pod is asked for until it is seen gone"
        )
    return (
        f"billed {seconds:,.0f} s longer than the ledger saw it: it ended later than its last sign"
    )


def missing(pod: AttemptRow, now: datetime) -> str:
    """Why a pod of the ledger may not be on the bill."""
    if not pod.pod_id:
        return "never confirmed by the provider: perhaps it never was, and the ledger has too much"
    if pod.ended_at is not None and now - pod.ended_at < LATE:
        return "not on the bill yet: bills come late"
    return "the provider has billed nothing for it"


def seconds_of(usd: Decimal, pod: AttemptRow) -> float | None:
    """Dollars as seconds of the pod's rent; None for a pod that is free."""
    return float(usd / pod.usd_per_hour * 3600) if pod.usd_per_hour else None


def of_stranger(
    rows: Sequence[Billed], rented: Sequence[tuple[AttemptRow, Decimal]], owner: str
) -> Difference:
    """A billed pod that the ledger does not know: an alarm when it is ours or may be.

    Bills name pods by id only: of one that is gone already the name is not known.
    """
    billed, name = sum((row.usd for row in rows), Decimal(0)), rows[0].name
    first, last = min(row.start for row in rows), max(row.end for row in rows)
    nameless = [pod for pod, _ in rented if not pod.pod_id and first <= pod.launched_at <= last]
    if name.startswith(OURS) and not is_foreign(name, owner):
        why = "a pod with our prefix that the ledger does not know"
    elif nameless and not name:
        why = (
            f"perhaps attempt {nameless[0].number} of job {nameless[0].job_id}: launched in that "
            "time, and its id was never learned"
        )
    else:
        why = ""
    return Difference(
        pod_id=rows[0].pod_id,
        pod_name=name,
        job_id="",
        attempt=0,
        billed_usd=billed,
        ledger_usd=Decimal(0),
        difference_usd=billed,
        reason=why,
        alarm=bool(why),
    )
