"""Tell people how a job ended, where the channels are configured."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import alerts
from brightrun.context import open_job


@task(name="notify", cache_policy=NO_CACHE)
def notify(job_id: str, what: str) -> None:
    """A channel that fails becomes a warning event, never a failed job."""
    alerts.ended(open_job(job_id), what)
