"""A job tried again: its request, what its error suggests, what a person adds. Pure.

    found = of_job(row, sets, accept=True) -> Proposal

The suggestion is the error's adjustment ({"learning_rate": 0.0001}); it counts only when accepted.
What no job can set in it ({"micro_batch": 1}) is a pod's own choice: see `by_pod`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brightrun.errors import UsageError
from brightrun.frozen import Frozen
from brightrun.jobs import SETTABLE, Confirm, JobRequest, Overrides, apply_overrides
from brightrun.ledger_rows import JobRow
from brightrun.presets import preset_of


class Change(Frozen):
    """One value that differs; why: who wants it."""

    field: str
    before: Any
    after: Any
    why: str = ""

    def __str__(self) -> str:
        why = f" ({self.why})" if self.why else ""
        return f"{self.field}: {self.before} -> {self.after}{why}"


class Proposal(Frozen):
    """The request of the new job and how it differs; open: suggested, and not accepted; by_pod:
    suggested, and done by the pods themselves."""

    request: JobRequest
    changes: tuple[Change, ...]
    open: tuple[Change, ...] = ()
    by_pod: str = ""


def suggested(request: JobRequest, error: Mapping[str, Any] | None) -> tuple[Change, ...]:
    """What the error would change; a value that is so already, or that nobody may set, is none."""
    found, values = (error or {}).get("adjustment") or {}, request.values
    return tuple(
        Change(field=name, before=getattr(values, name), after=value, why="suggested by the error")
        for name, value in found.items()
        if name in SETTABLE and getattr(values, name) != value
    )


def by_pod(error: Mapping[str, Any] | None) -> str:
    """What the error suggests and no job sets, in words; "": nothing. A pod chooses it from its
    memory, and the one after an out-of-memory begins with what that error says (`recovery`)."""
    found = (error or {}).get("adjustment") or {}
    said = ", ".join(f"{name} -> {value}" for name, value in found.items() if name not in SETTABLE)
    return f"{said} (applied by the pod itself, when its memory is not enough)" if said else ""


def of_job(row: JobRow, sets: Mapping[str, Any], **how: Any) -> Proposal:
    """`propose` for a job of the ledger; UsageError: it has not ended."""
    if not row.is_final:
        raise UsageError(f"job {row.job_id} is {row.status}", fix="retry a job that has ended")
    return propose(JobRequest.model_validate(row.request), row.error, sets, **how)


def propose(
    request: JobRequest,
    error: Mapping[str, Any] | None,
    sets: Mapping[str, Any],
    *,
    accept: bool,
    requested_by: str = "",
    agreed: bool = False,
) -> Proposal:
    """The parent's wish with the accepted changes; UsageError names a value that cannot be.

    What a person sets wins over what the error suggests. A test of recovery is not repeated, and
    who agreed to the parent's price has not agreed to this one: `agreed` says so anew.
    """
    offered = suggested(request, error)
    mine = {change.field: change.after for change in offered} if accept else {}
    overrides = request.overrides.model_dump(exclude_none=True) | mine | dict(sets)
    values = apply_overrides(preset_of(request.preset).values, overrides)
    kept = {name: getattr(values, name) for name in overrides}
    new = request.model_copy(
        update={
            "overrides": Overrides(**kept),
            "interrupt_at": (),
            "confirm": Confirm.above_limits if agreed else Confirm.always,
            "repeat": agreed,
            "requested_by": requested_by or request.requested_by,
        }
    )
    why = dict.fromkeys(sets, "set by hand")
    changes = tuple(
        change.model_copy(update={"why": why.get(change.field, "suggested by the error")})
        for change in differences(request, new)
    )
    left = () if accept else tuple(c for c in offered if c.field not in sets)
    return Proposal(request=new, changes=changes, open=left, by_pod=by_pod(error))


def differences(parent: JobRequest, child: JobRequest) -> tuple[Change, ...]:
    """The values in which two requests differ."""
    old, new = parent.values, child.values
    return tuple(
        Change(field=name, before=getattr(old, name), after=getattr(new, name))
        for name in SETTABLE
        if getattr(old, name) != getattr(new, name)
    )


def command(job_id: str, changes: tuple[Change, ...]) -> str:
    """What a person types to try a failed job again."""
    return f"brightrun retry {job_id}" + (" --accept-suggestions" if changes else "")
