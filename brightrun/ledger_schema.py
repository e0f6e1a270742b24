"""Tables of the ledger. Money is whole micro-dollars, time is UTC, texts are as people gave them.

Without a schema on SQLite; in schema `brightrun` on Postgres (a schema_translate_map does that).
What leaves the house (reports, shares) stands in ledger_schema_delivery.
A change here or there needs a new revision in deployments/migrations/versions and REVISION below.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON as PlainJson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

REVISION = "0008"
POSTGRES_SCHEMA = "brightrun"


class Moment(TypeDecorator[datetime]):
    """An aware datetime; kept in UTC, also on SQLite, which knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JSON = PlainJson(none_as_null=True)
# A plain INTEGER key is what SQLite can number by itself.
Key = BigInteger().with_variant(Integer(), "sqlite")
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def texts(*names: str) -> list[Column[str]]:
    """Columns of text that are empty rather than absent."""
    return [Column(name, Text, nullable=False, default="") for name in names]


def _job(primary_key: bool = False) -> Column[str]:
    job = ForeignKey("training_jobs.job_id")
    return Column("job_id", Text, job, nullable=False, primary_key=primary_key)


def _key() -> Column[int]:
    return Column("id", Key, primary_key=True, autoincrement=True)


jobs = Table(
    "training_jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("status", Text, nullable=False, index=True),
    *texts("stage", "name", "client", "requested_by", "notes", "preset"),
    *texts("provider", "market", "gpu", "base_model"),
    Column("training_file", Text, nullable=False, index=True),
    Column("request", JSON, nullable=False),
    Column("spec_hash", Text, nullable=False, default="", index=True),
    Column("spec", JSON),
    Column("estimate", JSON),
    Column("estimate_low_micro", BigInteger),
    Column("estimate_likely_micro", BigInteger),
    Column("estimate_high_micro", BigInteger),
    Column("hard_limit_micro", BigInteger),
    *texts("flow_run_id", "run_folder", "report_html", "report_pdf", "package", "adapter_sha256"),
    Column("error", JSON),
    Column("result", JSON),
    Column("parent_job_id", Text, ForeignKey("training_jobs.job_id")),
    Column("claim_driver", Text),
    Column("claim_pid", Integer),
    Column("claim_host", Text),
    Column("claim_at", Moment),
    Column("created_at", Moment, nullable=False, index=True),
    Column("updated_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
)

attempts = Table(
    "attempts",
    metadata,
    _job(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *texts("provider"),
    *texts("market"),
    Column("pod_name", Text, nullable=False, unique=True),
    *texts("pod_id", "data_center", "gpu"),
    Column("usd_per_hour_micro", BigInteger, nullable=False),
    Column("launched_at", Moment, nullable=False, index=True),
    Column("started_at", Moment),
    Column("ended_at", Moment, index=True),
    *texts("outcome"),
    Column("last_step", Integer),
    Column("resumed_from", Integer),
    Column("cost_micro", BigInteger),
)

events = Table(
    "job_events",
    metadata,
    _key(),
    _job(),
    Column("attempt", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("ts", Moment, nullable=False),
    Column("type", Text, nullable=False),
    Column("payload", JSON, nullable=False),
    UniqueConstraint("job_id", "attempt", "seq"),
    Index(None, "job_id", "type"),
)

metrics = Table(
    "training_metrics_history",
    metadata,
    _key(),
    _job(),
    Column("attempt", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("ts", Moment, nullable=False),
    Column("step", Integer, nullable=False),
    Column("validation", Boolean, nullable=False),
    Column("epoch", Float),
    Column("loss", Float),
    Column("learning_rate", Float),
    Column("grad_norm", Float),
    Column("tokens", BigInteger),
    Column("supervised_tokens", BigInteger),
    Column("seconds", Float),
    Column("tokens_per_s", Float),
    Column("memory_mb", Float),
    UniqueConstraint("job_id", "attempt", "seq"),
)

artifacts = Table(
    "model_artifacts",
    metadata,
    _key(),
    _job(),
    Column("kind", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("job_id", "kind", "uri"),
)

evaluations = Table(
    "evaluations",
    metadata,
    _job(primary_key=True),
    Column("evaluation", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
)

verdicts = Table(
    "verdicts",
    metadata,
    _key(),
    _job(),
    Column("metric", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("n_clusters", Integer, nullable=False),
    Column("baseline", Float),
    Column("trained", Float),
    Column("gold", Float),
    Column("estimate", Float),
    Column("ci_low", Float),
    Column("ci_high", Float),
    Column("target", Float),
    Column("improved", Boolean),
    Column("target_met", Text, nullable=False),
    Column("n_needed", Integer),
    Column("exploratory", Boolean),
    *texts("note"),
    Index(None, "job_id", "metric"),
)

approvals = Table(
    "approvals",
    metadata,
    _key(),
    _job(),
    Column("approved", Boolean, nullable=False),
    Column("approver", Text, nullable=False),
    *texts("note"),
    Column("override_budget", Boolean, nullable=False),
    Column("estimate_high_micro", BigInteger),
    Column("at", Moment, nullable=False),
    Index(None, "job_id"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("month", Text, primary_key=True),
    Column("client", Text, primary_key=True, default=""),
    Column("limit_micro", BigInteger, nullable=False),
    *texts("set_by", "note"),
    Column("set_at", Moment, nullable=False),
)

budget_alerts = Table(
    "budget_alerts",
    metadata,
    _key(),
    Column("scope", Text, nullable=False),  # a month "2026-11", or a job id
    *texts("client"),
    Column("threshold", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("at", Moment, nullable=False),
    UniqueConstraint("scope", "client", "threshold"),
)

registered_files = Table(
    "registered_files",
    metadata,
    Column("name", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False, index=True),
    Column("summary", JSON, nullable=False),
    Column("registered_at", Moment, nullable=False),
)

observations = Table(
    "observations",
    metadata,
    _job(primary_key=True),
    Column("part", Text, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("precision", Text, nullable=False),
    Column("tokens", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("cpu_seconds", Float),
    Column("at", Moment, nullable=False),
    Index(None, "machine", "model", "precision"),
)

templates = Table(
    "templates",
    metadata,
    Column("name", Text, primary_key=True),
    Column("request", JSON, nullable=False),
    *texts("notes", "created_by"),
    Column("created_at", Moment, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    _key(),
    _job(),
    *texts("author"),
    Column("rating", Integer),
    *texts("text"),
    Column("created_at", Moment, nullable=False),
    Index(None, "job_id"),
)
