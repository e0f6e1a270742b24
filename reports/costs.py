"""What a cost report knows: a month, of all clients or one, or a single job. Reads the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from statistics import median
from typing import Any

from brightrun import accounts
from brightrun.brand import Brand
from brightrun.budget import moment_in, month_bounds
from brightrun.context import JobContext
from brightrun.errors import ReportError, UsageError
from brightrun.frozen import Frozen
from brightrun.ledger import AttemptRow, JobRow, Ledger
from brightrun.reckoning import WITHIN
from brightrun.revenue import Revenue
from brightrun.verdicts import Issue

SPOT, ON_DEMAND = "spot", "on_demand"


class JobCost(Frozen):
    """One job. usd: what falls into the report's time; the other dollars are of the whole job.

    off, within: actual over likely estimate less 1, of an ended job. spot_usd: what the same hours
    cost on demand less what was paid; None: no spot, or no price on demand is known.
    """

    job_id: str
    name: str
    client: str
    status: str
    usd: float
    total_usd: float
    estimate_usd: float | None
    off: float | None
    within: bool | None
    boot_usd: float
    boot_waste_usd: float
    lost_usd: float
    hours: float
    spot_usd: float | None
    notional: bool
    revenue_usd: float | None


class ClientCost(Frozen):
    """revenue, margin: None where nobody stated a revenue for the client in this time."""

    client: str
    jobs: int
    usd: float
    revenue_usd: float | None
    margin_usd: float | None


class CostData(Frozen):
    """report.json of a cost report. month: "" for a single job's."""

    made_at: datetime
    month: str
    client: str
    complete: bool
    limit_usd: float | None
    jobs: tuple[JobCost, ...]
    clients: tuple[ClientCost, ...]
    revenue_by: str = ""
    issue: Issue = Issue()
    brand: Brand = Brand()

    @property
    def usd(self) -> float:
        return sum(job.usd for job in self.jobs)

    @property
    def paying(self) -> tuple[ClientCost, ...]:
        """Clients with a stated revenue."""
        return tuple(c for c in self.clients if c.revenue_usd is not None)

    @property
    def revenue(self) -> float | None:
        return sum(c.revenue_usd or 0.0 for c in self.paying) if self.paying else None

    @property
    def margin(self) -> float | None:
        """Of the paying clients only: what others cost says nothing about it."""
        return sum(c.margin_usd or 0.0 for c in self.paying) if self.paying else None


def of_month(
    ledger: Ledger, month: str, *, client: str = "", revenue: Revenue | None = None,
    now: datetime | None = None,
) -> CostData:  # fmt: skip
    """Every job that billed in a month ("2026-11"); UsageError: not a month."""
    moment = now or datetime.now(UTC)
    try:
        zone = ledger.settings.zone
        at = moment_in(month, moment, zone)
    except ValueError:
        raise UsageError(f"{month!r} is no month", fix="write it as 2026-11") from None
    first, after = month_bounds(at, zone)
    spent = {job_id: usd for job_id, _, _, usd in ledger.job_costs_within(first, after, moment)}
    rows = [ledger.job(job_id) for job_id in spent]
    mine = [row for row in rows if not client or row.client.lower() == client.lower()]
    known = revenue or Revenue()
    by_client = client_revenue(known, month)
    limit = ledger.month_limit(month, client)
    jobs = tuple(job_cost(ledger, row, spent[row.job_id], known, moment, first) for row in mine)
    return CostData(
        made_at=moment,
        month=month,
        client=client,
        complete=at != moment,
        limit_usd=None if limit is None else float(limit),
        jobs=tuple(sorted(jobs, key=lambda job: -job.usd)),
        clients=client_costs(jobs, by_client, client),
        revenue_by=known.stated_by,
    )


def of_job(job: JobContext, revenue: Revenue | None = None) -> CostData:
    """One job, whenever it ran; ReportError before it rented anything."""
    now, row, known = datetime.now(UTC), job.ledger.job(job.job_id), revenue or Revenue()
    if not job.ledger.attempts(job.job_id):
        raise ReportError(f"job {job.job_id} has not rented anything yet", fix="let it run first")
    found = job_cost(job.ledger, row, job.ledger.cost_so_far(job.job_id, now), known, now)
    return CostData(
        made_at=now,
        month="",
        client=row.client,
        complete=row.is_final,
        limit_usd=None,
        jobs=(found,),
        clients=client_costs((found,), {}, row.client),
        revenue_by=known.stated_by,
    )


def job_cost(
    ledger: Ledger,
    row: JobRow,
    usd: Decimal,
    revenue: Revenue,
    now: datetime,
    since: datetime | None = None,
) -> JobCost:
    """One line of the report. since: a job that rented before it had its revenue counted there."""
    job = JobContext(ledger.settings, ledger, row.job_id)
    pods = ledger.attempts(row.job_id)
    bill, against = accounts.bill_of(job, now), accounts.reckoning_of(job, now)
    lines = {line.name: float(line.usd) for line in bill.lines}
    ended = row.is_final and against is not None
    counted = since is not None and any(pod.launched_at < since for pod in pods)
    stated = [0.0 if counted else r.usd for r in revenue.revenue if r.job == row.job_id]
    return JobCost(
        job_id=row.job_id,
        name=row.name,
        client=row.client,
        status=str(row.status),
        usd=float(usd),
        total_usd=float(bill.usd),
        estimate_usd=float(against.estimate_usd) if against else None,
        off=against.off if ended and against else None,
        within=against.within if ended and against else None,
        boot_usd=lines.get("boot", 0.0),
        boot_waste_usd=lines.get("boot waste", 0.0),
        lost_usd=lines.get("lost work", 0.0),
        hours=sum(rented_hours(pod, now) for pod in pods),
        spot_usd=spot_saving(pods, row.estimate or {}, now),
        notional=bill.notional,
        revenue_usd=sum(stated) if stated else None,
    )


def rented_hours(pod: AttemptRow, now: datetime) -> float:
    return ((pod.ended_at or now) - pod.launched_at).total_seconds() / 3600


def spot_saving(
    pods: Sequence[AttemptRow], estimate: Mapping[str, Any], now: datetime
) -> float | None:
    """Price on demand at the estimate's time x hours of the spot pods, less what they cost."""
    offers = [m for m in estimate.get("markets", ()) if m["market"] == ON_DEMAND and m["offered"]]
    spot = [pod for pod in pods if pod.market == SPOT]
    if not offers or not spot:
        return None
    price = float(offers[0]["price"]["usd_per_hour"])
    return sum(price * rented_hours(pod, now) - paid(pod, now) for pod in spot)


def paid(pod: AttemptRow, now: datetime) -> float:
    """Dollars of a pod: its bill, or its time so far at its price."""
    if pod.cost_usd is not None:
        return float(pod.cost_usd)
    return rented_hours(pod, now) * float(pod.usd_per_hour)


def client_revenue(revenue: Revenue, month: str) -> dict[str, float]:
    """What was stated for whole months, by client (lower case)."""
    found: dict[str, float] = {}
    for item in revenue.revenue:
        if item.client and item.month == month:
            key = item.client.lower()
            found[key] = found.get(key, 0.0) + item.usd
    return found


def client_costs(
    jobs: Iterable[JobCost], stated: Mapping[str, float], only: str
) -> tuple[ClientCost, ...]:
    """By client, the dearest first; a client that paid without costing anything is shown too."""
    names: dict[str, str] = {}
    for job in jobs:
        names.setdefault(job.client.lower(), job.client)
    for key in stated:
        if not only or key == only.lower():
            names.setdefault(key, key)
    rows = []
    for key, name in names.items():
        mine = [job for job in jobs if job.client.lower() == key]
        of_jobs = [j.revenue_usd for j in mine if j.revenue_usd is not None]
        known = bool(of_jobs) or key in stated
        income = sum(of_jobs) + stated.get(key, 0.0) if known else None
        usd = sum(job.usd for job in mine)
        rows.append(
            ClientCost(
                client=name,
                jobs=len(mine),
                usd=usd,
                revenue_usd=income,
                margin_usd=None if income is None else income - usd,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.usd, row.client)))


class Accuracy(Frozen):
    """Of ended jobs with an estimate: how many, share within 15 %, median distance."""

    jobs: int
    within: int
    median_off: float | None


def accuracy(jobs: Iterable[JobCost]) -> Accuracy:
    known = [(job.off, job.within) for job in jobs if job.off is not None]
    return Accuracy(
        jobs=len(known),
        within=sum(bool(within) for _, within in known),
        median_off=median(abs(off) for off, _ in known) if known else None,
    )


ANNOUNCED = float(WITHIN)
