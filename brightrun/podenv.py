"""All that a pod is told. What is secret among it goes a way of its own and is written nowhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from brightrun import podcredentials
from brightrun.context import JobContext
from brightrun.settings import Settings


def environment(
    job: JobContext, name: str, number: int, estimate: dict[str, Any], choices: str = ""
) -> dict[str, str]:
    """All that a pod is told; no secret is among it. choices: see `choices_with`."""
    found = {
        "BRIGHTRUN_POD": name,
        "BRIGHTRUN_JOB_ID": job.job_id,
        "BRIGHTRUN_ATTEMPT": str(number),
        "BRIGHTRUN_MODELS": str(job.settings.models),
        "BRIGHTRUN_THREADS": str(job.spec.threads),
        "BRIGHTRUN_PROCESSES": str(job.settings.processes),
        "BRIGHTRUN_CHOICES": choices or job.settings.choices,
        "BRIGHTRUN_EXPECTED": json.dumps(estimate["stage_seconds"]),
        "STORAGE_URL": storage_url(job.settings),
    }
    if job.settings.pod_storage_endpoint:
        found["AWS_ENDPOINT_URL"] = job.settings.pod_storage_endpoint
    if job.settings.pod_storage_region:
        found["AWS_DEFAULT_REGION"] = job.settings.pod_storage_region
    kills = job.request.interrupt_at
    if number <= len(kills):
        found["BRIGHTRUN_INTERRUPT_AT"] = str(kills[number - 1])
    return found


def choices_with(settings: Settings, adjustment: Mapping[str, Any]) -> str:
    """The pod's choices as the settings have them, and over them what an out-of-memory asks for."""
    if not adjustment:
        return settings.choices
    return json.dumps({**json.loads(settings.choices or "{}"), **adjustment}, sort_keys=True)


def limits(job: JobContext, usd_per_hour: Decimal) -> dict[str, str]:
    """How long a pod at that price may run: it keeps to it also when the control plane is dead.

    Hours = min(the settings' longest, dollars left of the job's hard limit / price).
    """
    hours = Decimal(str(job.settings.longest_pod_hours))
    limit = job.ledger.job(job.job_id).hard_limit_usd
    if limit is not None and usd_per_hour > 0:
        left = limit - job.ledger.cost_so_far(job.job_id, job.clock.now())
        hours = min(hours, max(Decimal(0), left) / usd_per_hour)
    return {"BRIGHTRUN_LIMIT_HOURS": f"{hours:.6f}"}


def storage_url(settings: Settings) -> str:
    """The storage as a pod sees it."""
    return (settings.pod_storage_url or settings.storage).rstrip("/")


def secrets_of(job: JobContext, name: str) -> dict[str, SecretStr]:
    """The pod's own credentials, under the names that its libraries read; never an account key.

    ConfigurationError: the storage gives none for this pod.
    """
    settings = job.settings
    found = podcredentials.of(settings, storage_url(settings), job.job_id, name)
    token = settings.pod_hub_token
    return found if token is None else {**found, "HF_TOKEN": token}
