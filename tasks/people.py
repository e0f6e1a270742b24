"""Tell people how a job ended, where the channels are configured."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun.context import open_job
from brightrun.notify import Message, notifiers, send_all
from tasks.results import report_url


@task(name="notify", cache_policy=NO_CACHE)
def notify(job_id: str, what: str) -> None:
    """A channel that fails becomes a warning event, never a failed job."""
    job = open_job(job_id)
    row = job.ledger.job(job_id)
    lines = [f"File: {row.training_file}", f"Requested by: {row.requested_by or 'unknown'}"]
    if row.report_html:
        lines.append(f"Report: {report_url(job)}")
    if row.error is not None:
        lines += [str(row.error["message"]), f"Fix: {row.error['fix']}"]
        lines.append(f"Go on: brightrun train --resume {job_id}")
    message = Message(title=f"Bright Run job {job_id} {what}", lines=tuple(lines))
    for problem in send_all(notifiers(job.settings), message):
        job.note("warning", {"code": "notify", "message": f"not delivered: {problem}"})
