"""Reconcile the ledger with a provider's bill, show it, and tell what is alarming."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import bookkeeping
from brightrun.counting import count
from brightrun.ledger import Ledger
from brightrun.settings import load
from reports import billcards
from tasks import artifacts, story


@task(name="reconcile", task_run_name="reconcile {provider}", cache_policy=NO_CACHE, retries=2,
      retry_delay_seconds=[60, 600])  # fmt: skip
def reconcile(provider: str, since: datetime, now: datetime) -> dict[str, Any]:
    """The comparison of one provider; differences in the log and booked once the bill is final."""
    ledger = Ledger.open(load())
    found = bookkeeping.reconcile(ledger, provider, since, now)
    story.tell(billcards.headline(found), story.WARNING if found.alarms else story.INFO)
    for pod in found.worth_telling:
        story.tell(billcards.sentence(pod), story.WARNING if pod.alarm else story.INFO)
    for problem in bookkeeping.raise_alarms(ledger, found):
        story.tell(f"An alarm was not delivered: {problem}", story.WARNING)
    if booked := bookkeeping.book(ledger, found):
        story.tell(f"The bill is booked for {count(booked, 'pod')}.")
    artifacts.publish(f"bill-{provider}", billcards.card(found), "Ledger against the bill")
    return found.as_json()
