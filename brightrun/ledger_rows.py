"""What the ledger answers: frozen rows. Dollars are Decimal, moments are aware and in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypedDict

from brightrun.budget import Threshold
from brightrun.outcomes import INTERRUPTIONS, ending


class Status(StrEnum):
    """Where a job stands. The ones in FINAL never change by themselves."""

    created = "created"
    validating = "validating"
    estimating = "estimating"
    awaiting_approval = "awaiting_approval"
    rejected = "rejected"
    queued = "queued"
    running = "running"
    paused = "paused"
    evaluating = "evaluating"
    reporting = "reporting"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"


FINAL = frozenset({Status.rejected, Status.completed, Status.failed, Status.cancelled})
# Statuses of jobs that have not passed their gate (a queued one may have, then it has a hold).
BEFORE_GATE = frozenset(
    {
        Status.created,
        Status.validating,
        Status.estimating,
        Status.awaiting_approval,
        Status.queued,
    }
)


class JobChanges(TypedDict, total=False):
    """What `update_job` may set; fields left out stay as they are."""

    status: Status | str
    stage: str
    name: str
    notes: str
    gpu: str
    market: str
    base_model: str
    spec_hash: str
    spec: dict[str, Any] | None
    estimate: dict[str, Any] | None
    hard_limit_usd: Decimal | None
    flow_run_id: str
    run_folder: str
    report_html: str
    report_pdf: str
    package: str
    adapter_sha256: str
    error: dict[str, Any] | None
    result: dict[str, Any] | None
    parent_job_id: str | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who drives a job: one driver at a time."""

    driver: str
    pid: int
    host: str
    at: datetime


@dataclass(frozen=True, slots=True)
class JobRow:
    job_id: str
    status: Status
    stage: str
    name: str
    client: str
    requested_by: str
    notes: str
    preset: str
    provider: str
    market: str
    gpu: str
    base_model: str
    training_file: str
    request: dict[str, Any]
    spec_hash: str
    spec: dict[str, Any] | None
    estimate: dict[str, Any] | None
    hard_limit_usd: Decimal | None
    flow_run_id: str
    run_folder: str
    report_html: str
    report_pdf: str
    package: str
    adapter_sha256: str
    error: dict[str, Any] | None
    result: dict[str, Any] | None
    parent_job_id: str | None
    claim: Claim | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def at_rest(self) -> bool:
        """Ended, or paused: nobody drives it, and no pod may run for it."""
        return self.is_final or self.status == Status.paused


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One pod. outcome is "" while it is open, `stop_failed` while it is open because it cannot be
    ended; cost_usd is set when it ended.

    pod_id is the provider's, "" until it has said that the pod is rented.
    """

    job_id: str
    number: int
    provider: str
    market: str
    pod_name: str
    pod_id: str
    data_center: str
    gpu: str
    usd_per_hour: Decimal
    launched_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    outcome: str
    last_step: int | None
    resumed_from: int | None
    cost_usd: Decimal | None

    @property
    def interrupted(self) -> bool:
        """A working pod went that nobody had asked to go."""
        return ending(self.outcome) in INTERRUPTIONS


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of the run folder; `id` grows in the order of arrival, for paging."""

    id: int
    attempt: int
    seq: int
    ts: datetime
    type: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One optimizer step as it counts now. loss is None where only a validation loss is known."""

    step: int
    attempt: int
    ts: datetime
    epoch: float | None
    loss: float | None
    validation_loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    tokens: int | None
    supervised_tokens: int | None
    seconds: float | None
    tokens_per_s: float | None
    memory_mb: float | None


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """A person's word; estimate_high_usd is what the estimate said when it was given."""

    job_id: str
    approved: bool
    approver: str
    note: str
    override_budget: bool
    estimate_high_usd: Decimal | None
    at: datetime

    @property
    def overrides(self) -> bool:
        """The month's budget; without a reason it does not."""
        return self.override_budget and bool(self.note.strip())


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A month's budget as a person set it."""

    month: str
    usd: Decimal
    by: str
    note: str
    at: datetime
    every_month: bool = False


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A job that has passed its gate; held: the most that it may cost in all."""

    job_id: str
    name: str
    client: str
    status: str
    held: Decimal
    spent: Decimal
    likely: Decimal

    @property
    def left(self) -> Decimal:
        """What it may still spend."""
        return max(Decimal(0), self.held - self.spent)


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """A client's thresholds as a person set them; client "": everybody's."""

    client: str
    warn: Threshold
    approve: Threshold
    by: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who decided what about money; before and after in dollars where it is an amount."""

    at: datetime
    who: str
    action: str
    month: str
    client: str
    job_id: str
    before: Decimal | None
    after: Decimal | None
    reason: str


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A saved request, without file and person."""

    name: str
    request: dict[str, Any]
    notes: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    job_id: str
    kind: str
    uri: str
    sha256: str
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FileRow:
    """A registered training file; last_job is the newest job that named it or its path."""

    name: str
    path: str
    sha256: str
    summary: dict[str, Any]
    registered_at: datetime
    last_job: str | None
