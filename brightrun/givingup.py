"""Why a job gets no further pod, with the last sign of the pod that was lost.

A process that the kernel kills for want of memory says nothing: its heartbeats told how much memory
was left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brightrun.context import JobContext
from brightrun.errors import InterruptionError
from brightrun.jobs import Hyperparameters
from brightrun.situation import Action

# Less than this share of what the process held, or than so many MB, was all but nothing.
SCARCE_SHARE, SCARCE_MB = 0.1, 500


def given_up(job: JobContext, action: Action) -> InterruptionError:
    """The error of a job that is given up."""
    rows = job.ledger.attempts(job.job_id)
    number = rows[-1].number if rows else 0
    beats = job.ledger.events(job.job_id, attempt=number, type="heartbeat")
    beat = beats[-1].payload if beats else {}
    happened = f"job {job.job_id} was given up: {action.why}{last_sign(number, beat)}"
    if not action.fault:
        return InterruptionError(
            happened,
            cause="see `brightrun events` for the last signs of each pod",
            fix=f"mend the cause, then `brightrun train --resume {job.job_id}`",
        )
    if not scarce(beat):
        return InterruptionError(happened, fault=action.fault)
    smaller = lighter(job.request.values)
    setting = "".join(f" --set {name}={value}" for name, value in smaller.items())
    return InterruptionError(
        happened,
        cause="the kernel killed the last pod for want of memory",
        fix="take a machine with more memory, or a smaller base model"
        + (f", or `brightrun retry {job.job_id}{setting}`" if setting else ""),
        adjustment=smaller,
        fault=action.fault,
    )


def last_sign(number: int, beat: Mapping[str, Any]) -> str:
    """ "; last sign of pod 2: training, 3.1 GB of memory used, 0.2 GB free"; "": none. Pure."""
    if "memory_mb" not in beat:
        return ""
    free = f", {beat['free_mb'] / 1000:.1f} GB free" if "free_mb" in beat else ""
    used = f"{beat['memory_mb'] / 1000:.1f} GB of memory used"
    return f"; last sign of pod {number}: {beat.get('stage', 'unknown stage')}, {used}{free}"


def scarce(beat: Mapping[str, Any]) -> bool:
    """Whether the pod's memory was all but used up. Pure."""
    if "free_mb" not in beat:
        return False
    return float(beat["free_mb"]) < max(SCARCE_MB, SCARCE_SHARE * float(beat["memory_mb"]))


def lighter(values: Hyperparameters) -> dict[str, Any]:
    """The setting that takes less memory; {}: none is left. Pure."""
    if not values.gradient_checkpointing:
        return {"gradient_checkpointing": True}
    return {} if values.precision == "nf4" else {"precision": "nf4"}
