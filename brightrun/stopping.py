"""Ends that somebody wanted: a cancelled job, a driver whose job another one has taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brightrun.errors import InterruptionError


class JobCancelled(InterruptionError):
    """A person or a limit stopped the job; its checkpoints are kept."""

    code = "cancelled"


class JobPaused(InterruptionError):
    """A person paused the job: no failure. Its GPU is released, its checkpoints wait."""

    code = "paused"


class DriverReplaced(InterruptionError):
    """This process slept too long and another one drives the job: its pod is no longer ours."""

    code = "driver_replaced"


def obey(job_id: str, asked: Mapping[str, Any] | None) -> None:
    """JobCancelled when a person asked to cancel. For the moments without a pod to obey it.

    asked: the standing request to stop. The hard limit is not looked at: without a pod the job
    spends nothing.
    """
    if asked is not None and asked.get("reason") == "cancel":
        raise JobCancelled(
            f"job {job_id} was cancelled by {asked.get('by') or 'somebody'}",
            fix=f"what is finished is kept: `brightrun train --resume {job_id}` goes on",
        )
