"""What a job that is stopped has cost, and what stays of it: a card and a line of the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import remains
from brightrun.context import open_job
from brightrun.ledger import FINAL, Status
from tasks import artifacts, story

STOPPING = "being cancelled, its pod saves a checkpoint and goes; so far"


@task(name="say what is kept", cache_policy=NO_CACHE)
def tell(job_id: str) -> dict[str, Any]:
    """As the terminal's `cancel --json` says it."""
    found = remains.facts(open_job(job_id), datetime.now(UTC))
    status = found["status"]
    how = STOPPING if status not in FINAL else status
    if status in FINAL - {Status.cancelled}:
        how = f"already {status}"
    text = f"Job {found['job_id']} is {how}: {found['kept']}"
    story.tell(text)
    artifacts.publish("kept", text, "What the job has cost, and what stays of it")
    return found
