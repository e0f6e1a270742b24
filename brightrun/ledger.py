"""The ledger: who asked for what, what was rented, what it cost, what came of it.

    ledger = Ledger.open(settings)
    ledger.create_job(job_id, request)

SQLite under BRIGHTRUN_HOME by default, Postgres (schema `brightrun`) by DATABASE_URL. Answers are
frozen rows (`ledger_rows`); no database object leaves. The methods are the functions of the
modules ledger_jobs, _adapters, _attempts, _money, _budget, _audit, _rates, _events, _history,
_daily, _outbox, _records and _reports, under one name.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import Connection, Engine

from brightrun import (
    ledger_adapters,
    ledger_attempts,
    ledger_audit,
    ledger_budget,
    ledger_daily,
    ledger_events,
    ledger_forget,
    ledger_history,
    ledger_jobs,
    ledger_money,
    ledger_outbox,
    ledger_rates,
    ledger_records,
    ledger_reports,
    ledger_shares,
)
from brightrun.ledger_rows import (
    FINAL,
    ApprovalRow,
    ArtifactRow,
    AttemptRow,
    Claim,
    EventRow,
    FileRow,
    HoldRow,
    JobRow,
    LimitRow,
    MetricRow,
    Status,
)
from brightrun.ledger_store import engine_of, migrate, transaction
from brightrun.settings import Settings

__all__ = [
    "FINAL",
    "ApprovalRow",
    "ArtifactRow",
    "AttemptRow",
    "Claim",
    "EventRow",
    "FileRow",
    "HoldRow",
    "JobRow",
    "Ledger",
    "LimitRow",
    "MetricRow",
    "Status",
]


class Ledger:
    """An open ledger; safe to use from several threads, and from processes that each open it."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings

    @classmethod
    def open(cls, settings: Settings) -> Ledger:
        """Open and, when needed, create or migrate. StorageError, ConfigurationError."""
        engine = engine_of(settings)
        migrate(engine, settings)
        return cls(engine, settings)

    def close(self) -> None:
        """Give the database connections back."""
        self.engine.dispose()

    def read(self) -> AbstractContextManager[Connection]:
        """A reading transaction: one consistent view."""
        return transaction(self.engine, write=False)

    def write(self) -> AbstractContextManager[Connection]:
        """A writing transaction: all of it or nothing."""
        return transaction(self.engine, write=True)

    owner = ledger_jobs.owner
    create_job = ledger_jobs.create_job
    job = ledger_jobs.job
    has_job = ledger_jobs.has_job
    jobs = ledger_jobs.list_jobs
    jobs_with_spec = ledger_jobs.jobs_with_spec
    update_job = ledger_jobs.update_job
    end_job = ledger_jobs.end_job
    claim = ledger_jobs.claim
    renew_claim = ledger_jobs.renew_claim
    release_claim = ledger_jobs.release_claim

    add_attempt = ledger_attempts.add_attempt
    move_attempt = ledger_attempts.move_attempt
    pod_rented = ledger_attempts.pod_rented
    ended_since = ledger_attempts.ended_since
    stop_failed = ledger_attempts.stop_failed
    attempt_started = ledger_attempts.attempt_started
    end_attempt = ledger_attempts.end_attempt
    book_bill = ledger_attempts.book_bill
    attempts = ledger_attempts.attempts
    open_attempts = ledger_attempts.open_attempts
    next_attempt_number = ledger_attempts.next_attempt_number

    cost_so_far = ledger_money.cost_so_far
    cost_of_jobs = ledger_money.cost_of_jobs
    spent_this_month = ledger_money.spent_this_month
    cost_within = ledger_money.cost_within
    job_costs_within = ledger_money.job_costs_within
    at_gate = ledger_budget.at_gate
    open_hold = ledger_budget.open_hold
    open_holds = ledger_budget.open_holds
    budget_state = ledger_budget.budget_state
    budget_states = ledger_budget.budget_states
    forecast = ledger_budget.forecast
    by_client = ledger_budget.by_client
    month_limit = ledger_budget.month_limit
    month_limit_row = ledger_budget.month_limit_row
    set_month_limit = ledger_budget.set_month_limit
    months_spent = ledger_budget.months_spent
    audit_log = ledger_audit.audit_log
    thresholds = ledger_audit.thresholds
    limits_for = ledger_audit.limits_for
    set_threshold = ledger_audit.set_threshold
    usual_cost = ledger_audit.usual_cost
    may_approve = ledger_audit.may_approve
    approver_limits = ledger_audit.approver_limits
    set_approver = ledger_audit.set_approver
    interruption_rates = ledger_rates.interruption_rates

    ingest = ledger_events.ingest
    last_seq = ledger_events.last_seq
    events = ledger_events.events
    event_counts = ledger_events.event_counts
    last_event_at = ledger_events.last_event_at
    last_progress_at = ledger_events.last_progress_at
    metrics = ledger_events.metrics

    history = ledger_history.history
    observed_jobs = ledger_history.observed_jobs
    save_template = ledger_daily.save_template
    template = ledger_daily.template
    templates = ledger_daily.list_templates
    score_facts = ledger_daily.score_facts

    register_adapter = ledger_adapters.register_adapter
    adapters = ledger_adapters.list_adapters
    in_production = ledger_adapters.in_production
    move_adapter = ledger_adapters.move_adapter
    roll_back = ledger_adapters.roll_back
    adapter_moves = ledger_adapters.moves
    trained_on = ledger_adapters.trained_on
    not_ended = ledger_adapters.not_ended
    client_of_file = ledger_adapters.client_of_file
    begin_night = ledger_adapters.begin_night
    end_night = ledger_adapters.end_night
    last_nights = ledger_adapters.last_nights
    night_cost = ledger_adapters.night_cost
    states_of_night = ledger_adapters.states_of_night
    silent_nights = ledger_adapters.silent_nights

    put_out = ledger_outbox.put_out
    take_due = ledger_outbox.take_due
    delivered = ledger_outbox.delivered
    not_delivered = ledger_outbox.not_delivered
    undelivered = ledger_outbox.undelivered
    given_up = ledger_outbox.given_up
    thread_of = ledger_outbox.thread_of
    begin_thread = ledger_outbox.begin_thread

    openly_shared = ledger_forget.openly_shared
    report_folders = ledger_forget.report_folders
    own_files = ledger_forget.own_files
    forget_texts = ledger_forget.forget_texts

    add_approval = ledger_records.add_approval
    approval = ledger_records.approval
    add_artifact = ledger_records.add_artifact
    artifacts = ledger_records.list_artifacts
    save_evaluation = ledger_records.save_evaluation
    evaluation = ledger_records.evaluation
    verdicts_of_jobs = ledger_records.verdicts_of_jobs
    register_file = ledger_records.register_file
    files = ledger_records.files
    file = ledger_records.file
    record_alert = ledger_records.record_alert
    alert_told = ledger_records.alert_told
    add_observations = ledger_records.add_observations
    observed = ledger_records.observed

    reserve_report = ledger_reports.reserve_report
    issue_report = ledger_reports.issue_report
    report = ledger_reports.report
    reports = ledger_reports.list_reports
    report_of_file = ledger_reports.report_of_file

    add_share = ledger_shares.add_share
    share = ledger_shares.share
    shares = ledger_shares.list_shares
    revoke_share = ledger_shares.revoke_share
    count_issue = ledger_shares.count_issue
    settle_share = ledger_shares.settle_share
    note_downloads = ledger_shares.note_downloads
