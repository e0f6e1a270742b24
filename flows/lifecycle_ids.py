"""Words that terminal and flow share; apart from lifecycle, which needs Prefect."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brightrun.ledger import JobRow

JOB_ID_PATTERN = re.compile(r"\d{6}-[0-9a-f]{6}|ui-[0-9a-f]{10}")
# The message of a job whose process was asked to end.
STOPPED_BY_HAND = "stopped by a person or the system (Ctrl-C or SIGTERM)"


def new_job_id() -> str:
    """Date and six random hex digits: short enough to type, unique in a ledger."""
    return f"{datetime.now(UTC):%y%m%d}-{secrets.token_hex(3)}"


def job_id_of(given: str, flow_run_id: str) -> str:
    """A run from the UI takes its job id from its flow run, so that a restart finds its job."""
    return given or f"ui-{flow_run_id.replace('-', '')[:10]}"


def submitted(row: JobRow) -> str:
    """What a job that was handed to the deployment waits for; "" once a process has claimed it."""
    if row.status != "created" or not row.flow_run_id or row.claim is not None:
        return ""
    return "submitted, waits for a worker (`make ui` runs one)"
