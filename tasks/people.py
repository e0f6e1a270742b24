"""Tell people how a job ended: on the channels that are configured, and on the run's page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import alerts, monthalarms, nightalarm, posting, retrying
from brightrun import digest as digests
from brightrun.context import open_job
from brightrun.ledger import Ledger
from brightrun.settings import load
from reports import jobcards
from tasks import artifacts, story


@task(name="deliver messages", cache_policy=NO_CACHE)
def deliver() -> list[str]:
    """What could not be sent before, and what waited for the end of quiet hours."""
    problems = posting.deliver_due(Ledger.open(load()), datetime.now(UTC))
    story.undelivered(problems)
    return problems


@task(name="look at the month", cache_policy=NO_CACHE)
def month() -> list[str]:
    """Thresholds of the month's money that were passed while no job was followed."""
    problems = monthalarms.tell(Ledger.open(load()), datetime.now(UTC))
    story.undelivered(problems)
    return problems


@task(name="look at the night", cache_policy=NO_CACHE)
def night() -> list[str]:
    """A night whose run is gone, so that no morning report comes."""
    problems = nightalarm.tell(Ledger.open(load()), datetime.now(UTC))
    story.undelivered(problems)
    return problems


@task(name="daily digest", cache_policy=NO_CACHE)
def digest() -> dict[str, Any]:
    """Yesterday in one message, once to everybody who wants it."""
    now, ledger = datetime.now(UTC), Ledger.open(load())
    found = digests.digest(ledger, now)
    posting.post(ledger, digests.message(found), f"digest:{found['day']}", now=now)
    return found


@task(name="notify", cache_policy=NO_CACHE)
def notify(job_id: str, what: str) -> None:
    """A channel that fails becomes a warning event, never a failed job."""
    job = open_job(job_id)
    row = job.ledger.job(job_id)
    if row.error is not None:
        offered = retrying.suggested(job.request, row.error)
        again = retrying.command(job_id, offered)
        own = retrying.by_pod(row.error)
        said = (*map(str, offered), *([own] if own else []))
        card = jobcards.failure_card(job_id, row.error, said, again)
        artifacts.publish("failure", card, "What went wrong, and how to try again")
    if what == "started":
        alerts.began(job)
    else:
        alerts.ended(job, what)
