"""Which pods of the account must go: the decision of the reaper, pure.

A pod is ours by its name alone. One without a live job, over its age or over its budget goes;
pods of others are never named. The next look asks again, so one that stays is ended again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import Field

from brightrun.compute.provider import OURS, is_foreign
from brightrun.frozen import Frozen
from brightrun.money import shown


class Sighting(Frozen):
    """A pod in the account's list; since None: the provider does not say when it was made."""

    name: str
    since: datetime | None = None


class Books(Frozen):
    """What the ledger knows of a pod's name. limit_usd: the job's, None = none; spent_usd: its
    cost so far, this pod included."""

    job_id: str
    launched_at: datetime
    attempt_ended: bool = False
    job_over: bool = False
    stop_failed: bool = False
    lease_until: datetime | None = None
    spent_usd: Decimal = Decimal(0)
    limit_usd: Decimal | None = None


class ReaperRules(Frozen):
    owner: str = Field("", description="Which ledger asks: `Ledger.owner`")
    newborn_minutes: float = Field(10.0, description="A name unknown to the ledger may be so young")
    adoption_minutes: float = Field(15.0, description="After its lease a pod may be adopted")
    longest_hours: float = Field(72.0, description="No attempt runs longer")


class Doomed(Frozen):
    """A pod that must go; job_id "" when no job is known."""

    name: str
    why: str
    job_id: str = ""


def doomed(
    pods: Iterable[Sighting], books: Mapping[str, Books], now: datetime, rules: ReaperRules
) -> tuple[Doomed, ...]:
    """Pods to end now, in the order of the list, each with its reason."""
    found = []
    for pod in pods:
        if not pod.name.startswith(OURS):
            continue
        known = books.get(pod.name)
        why = stray(pod, now, rules) if known is None else excess(known, now, rules)
        if why:
            found.append(Doomed(name=pod.name, why=why, job_id=known.job_id if known else ""))
    return tuple(found)


def stray(pod: Sighting, now: datetime, rules: ReaperRules) -> str:
    """Why a pod that no attempt has named must go; "" while it may still be written down, and for
    one that another ledger has rented: that one's reaper knows it."""
    if is_foreign(pod.name, rules.owner):
        return ""
    if pod.since is not None and now - pod.since < timedelta(minutes=rules.newborn_minutes):
        return ""
    return "no attempt in the ledger has its name"


def excess(known: Books, now: datetime, rules: ReaperRules) -> str:
    """Why a pod of a known attempt must go; "" = it is at work."""
    if known.attempt_ended:
        return "its attempt has ended"
    if known.job_over:
        return "its job is over"
    if known.stop_failed:
        return "it could not be ended before"
    if spent := exhausted(known, now, rules):
        return spent
    late = timedelta(minutes=rules.adoption_minutes)
    if known.lease_until is not None and now - known.lease_until > late:
        return f"nobody drives it since {known.lease_until:%Y-%m-%d %H:%M %Z}".strip()
    return ""


def exhausted(known: Books, now: datetime, rules: ReaperRules) -> str:
    """Which limit of its job a pod has passed, so that no other pod may follow; "" = none."""
    if now - known.launched_at > timedelta(hours=rules.longest_hours):
        return f"it is older than {rules.longest_hours:.0f} hours"
    if known.limit_usd is not None and known.spent_usd > known.limit_usd:
        return f"its job has cost {shown(known.spent_usd)} of {shown(known.limit_usd)}"
    return ""
