"""Every night: train the registered files that changed, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow

from brightrun import nightalarm
from brightrun.errors import BrightRunError
from brightrun.ledger import Ledger
from brightrun.settings import load
from flows.finetune import finetune
from flows.lifecycle_ids import new_job_id
from tasks import nights


@flow(name="nightly", flow_run_name="nightly")
def nightly(again: bool = False, at: datetime | None = None) -> dict[str, Any]:
    """Train what changed since its last completed job, within the night's budget.

    Args:
        again: Whether to go through a night that was begun before. Off: each night once.
        at: The night of which moment, with its zone. Empty: of now.
    """
    with nightalarm.alone(load()):
        night = nights.begin(at, again)
        if not night:
            return {"night": "", "files": []}
        names = [row.name for row in Ledger.open(load()).files()]
        return nights.close(night, [one(night, name) for name in names])


def one(night: str, name: str) -> dict[str, Any]:
    """One file's night; whatever goes wrong with it, the next one has its turn."""
    decision = nights.look(night, name)
    if decision.action != "train":
        return decision.model_dump()
    job_id, settings = new_job_id(), load()
    ledger = Ledger.open(settings)
    try:
        request = nights.request_of(ledger, settings, night, name)
        finetune(request, job_id, return_state=True)
        return nights.judge(name, night, job_id)
    except BrightRunError as error:  # the job ended before it was written down, or has no adapter
        usd = float(ledger.cost_so_far(job_id, datetime.now(UTC)))
        return {"name": name, "action": "failed", "job_id": job_id, "usd": usd,
                "why": error.message}  # fmt: skip
