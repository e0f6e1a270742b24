"""The exception tree: every failure a person can meet, with its cause and its mend.

BrightRunError
├── DatasetError        the training file (exit 1)
├── ConfigurationError  settings, base model, environment
│   └── UsageError      an option's value that cannot be (exit 2)
├── BudgetError         gate, limits, approvals
├── CapacityError       no pod to rent
├── ProviderError       no usable answer from who rents out pods: they may bill all the same
│   └── StopFailed      a pod could not be ended and may go on billing
├── InterruptionError
│   └── SpotInterrupted a pod was lost; the task's retry brings a new one
├── OutOfMemory         carries an adjustment (precision nf4; micro_batch 1)
├── StorageError        run folder, object storage or ledger
│   └── LedgerAway      the ledger's server does not answer: waiting mends it
├── TrainerError        the trainer itself failed: never retried blindly
├── EvaluationError     measurements are missing or contradict the plan
└── ReportError         rendering or packaging
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from brightrun.faults import FAULTS, anchor


class BrightRunError(Exception):
    """Base of the tree.

    message: what happened, with the value. cause: the likely cause. fix: what to do.
    adjustment: name -> new value. What a job sets `retry` offers as a diff; with a pod's own
    choices (micro_batch) the next pod begins by itself (`recovery`). fault: its name in
    brightrun.faults, which also gives the usual cause and fix when none is given.
    """

    code: ClassVar[str] = "brightrun"

    def __init__(
        self,
        message: str,
        *,
        cause: str = "",
        fix: str = "",
        adjustment: Mapping[str, Any] | None = None,
        fault: str = "",
    ) -> None:
        super().__init__(message)
        known = FAULTS.get(fault)
        self.message = message
        self.cause = cause or (known.cause if known else "")
        self.fix = fix or (known.fix if known else "")
        self.adjustment = dict(adjustment or {})
        self.fault = fault if known else ""

    def as_dict(self) -> dict[str, Any]:
        """JSON form, as written to `_FAILED.json` and printed by `--json`."""
        return {
            "code": self.code,
            "message": self.message,
            "cause": self.cause,
            "fix": self.fix,
            "adjustment": self.adjustment,
            "fault": self.fault,
        }

    def __str__(self) -> str:
        parts = [self.message]
        if self.cause:
            parts.append(f"Likely cause: {self.cause}")
        if self.fix:
            parts.append(f"Fix: {self.fix}")
        if self.fault:
            parts.append(f"See {anchor(self.fault)}")
        return "\n".join(parts)


class DatasetError(BrightRunError):
    code = "dataset"


class ConfigurationError(BrightRunError):
    code = "configuration"


class UsageError(ConfigurationError):
    """Wrong use: a preset, market or value over a preset that there is not."""

    code = "usage"


class BudgetError(BrightRunError):
    code = "budget"


class CapacityError(BrightRunError):
    code = "capacity"


class ProviderError(BrightRunError):
    """Nothing is known after it: what was asked for may have happened."""

    code = "provider"


class StopFailed(ProviderError):
    """The state STOP_FAILED: tell everybody, and go on trying."""

    code = "stop_failed"


class InterruptionError(BrightRunError):
    code = "interruption"


class SpotInterrupted(InterruptionError):
    """A pod was lost without an ending marker; a new pod resumes from the newest checkpoint."""

    code = "spot_interrupted"


class OutOfMemory(BrightRunError):
    code = "out_of_memory"


class StorageError(BrightRunError):
    code = "storage"


class LedgerAway(StorageError):
    """Asking again is safe: what was asked for was committed whole, or not at all."""

    code = "ledger_away"


class TrainerError(BrightRunError):
    code = "trainer"


class EvaluationError(BrightRunError):
    code = "evaluation"


class ReportError(BrightRunError):
    code = "report"


FAMILIES: dict[str, type[BrightRunError]] = {
    kind.code: kind
    for kind in (
        BrightRunError,
        DatasetError,
        ConfigurationError,
        UsageError,
        BudgetError,
        CapacityError,
        ProviderError,
        StopFailed,
        InterruptionError,
        SpotInterrupted,
        OutOfMemory,
        StorageError,
        LedgerAway,
        TrainerError,
        EvaluationError,
        ReportError,
    )
}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and what it was raised from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def from_dict(record: Mapping[str, Any]) -> BrightRunError:
    """Rebuild an error that a pod wrote to `_FAILED.json`; an unknown code becomes TrainerError."""
    kind = FAMILIES.get(str(record.get("code", "")), TrainerError)
    return kind(
        str(record.get("message", "the pod failed without a message")),
        cause=str(record.get("cause", "")),
        fix=str(record.get("fix", "")),
        adjustment=record.get("adjustment") or {},
        fault=str(record.get("fault", "")),
    )
