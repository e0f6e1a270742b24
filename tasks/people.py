"""Tell people how a job ended: on the channels that are configured, and on the run's page."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import alerts, retrying
from brightrun.context import open_job
from reports import jobcards
from tasks import artifacts


@task(name="notify", cache_policy=NO_CACHE)
def notify(job_id: str, what: str) -> None:
    """A channel that fails becomes a warning event, never a failed job."""
    job = open_job(job_id)
    row = job.ledger.job(job_id)
    if row.error is not None:
        offered = retrying.suggested(job.request, row.error)
        again = retrying.command(job_id, offered)
        card = jobcards.failure_card(job_id, row.error, tuple(map(str, offered)), again)
        artifacts.publish("failure", card, "What went wrong, and how to try again")
    alerts.ended(job, what)
