"""Rent the next pod of a job: written down first, so that a doubtful launch can be looked up."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brightrun.compute.provider import LaunchRequest
from brightrun.context import JobContext, driver_name
from brightrun.errors import CapacityError
from brightrun.ledger import AttemptRow
from brightrun.recovery import FINAL_STOPS


def launch(job: JobContext) -> AttemptRow:
    """Write the attempt down, then start its pod. CapacityError: there is none to be had."""
    number = job.ledger.next_attempt_number(job.job_id)
    estimate = job.folder.read_json("estimate.json")
    price, now = estimate["price"], datetime.now(UTC)
    name = f"br-{job.job_id}-{number}-{secrets.token_hex(3)}"
    forget_old_stop(job)
    job.folder.write_json(
        f"attempts/{number}/launch.json",
        {
            "pod": name,
            "provider": job.request.provider,
            "price": price,
            "threads": job.spec.threads,
            "processes": job.settings.processes,
            "micro_batch": job.settings.micro_batch,
            "choices": job.settings.choices,
            "resumes_from": max(job.folder.checkpoints(), default=0),
            "launched_at": now.isoformat(),
        },
    )
    job.folder.renew_lease(driver_name(), job.settings.lease_seconds, now, attempt=number)
    attempt = job.ledger.add_attempt(
        job.job_id,
        number,
        provider=job.request.provider,
        market=estimate["market"],
        pod_name=name,
        usd_per_hour=Decimal(str(price["usd_per_hour"])),
        launched_at=now,
    )
    wanted = LaunchRequest(name=name, environment=environment(job, name, number, estimate))
    try:
        job.provider.launch(wanted)
    except CapacityError:
        job.ledger.end_attempt(job.job_id, number, datetime.now(UTC), "lost:never started")
        raise
    except BaseException:
        job.provider.terminate(name)  # it may run: its books stay open until it is seen gone
        raise
    return attempt


def environment(
    job: JobContext, name: str, number: int, estimate: dict[str, Any]
) -> dict[str, str]:
    """All that a pod is told; no secret is among it."""
    found = {
        "BRIGHTRUN_POD": name,
        "BRIGHTRUN_JOB_ID": job.job_id,
        "BRIGHTRUN_ATTEMPT": str(number),
        "BRIGHTRUN_MODELS": str(job.settings.models),
        "BRIGHTRUN_THREADS": str(job.spec.threads),
        "BRIGHTRUN_PROCESSES": str(job.settings.processes),
        "BRIGHTRUN_MICRO_BATCH": str(job.settings.micro_batch),
        "BRIGHTRUN_CHOICES": job.settings.choices,
        "BRIGHTRUN_EXPECTED": json.dumps(estimate["stage_seconds"]),
        "STORAGE_URL": job.settings.storage,
    }
    kills = job.request.interrupt_at
    if number <= len(kills):
        found["BRIGHTRUN_INTERRUPT_AT"] = str(kills[number - 1])
    return found


def forget_old_stop(job: JobContext) -> None:
    """A stop for the last pod (pause, switch) is not meant for this one; a cancel stands."""
    asked = job.folder.stop_request()
    if asked is not None and asked["reason"] not in FINAL_STOPS:
        job.folder.remove("control/stop.json")
