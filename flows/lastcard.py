"""The progress card that a run is left with, whoever ends its job."""

from __future__ import annotations

import logging
import os

from brightrun.context import JobContext
from brightrun.outages import told
from flows import run_states
from flows.server import shared_url

log = logging.getLogger(__name__)


def last_card(job: JobContext) -> None:
    """Says how the job ended, or that it is paused; what is away costs the card and nothing else.

    A job that still goes on keeps its card; without a Prefect server there is nothing to do.
    """
    try:
        row = job.ledger.job(job.job_id)
        api_url = os.environ.get("PREFECT_API_URL") or shared_url(job.settings)
        if not (row.at_rest and row.flow_run_id and api_url):
            return
        from tasks import board

        card = board.progress_card(job, job.progress())
        run_states.leave(api_url, row.flow_run_id, board.PROGRESS, card, board.SHOWS)
    except Exception as error:  # noqa: BLE001 whatever it is, the job has ended as it has
        log.warning("the last card of job %s is not written: %s", job.job_id, told(error))
