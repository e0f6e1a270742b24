"""Tables of what leaves the house: issued reports, their files, and shares. Part of the ledger."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from brightrun.ledger_schema import JSON, Moment, metadata, texts

# One row per issue of a report. `scope` is what it is about: a job, some jobs, or a month and a
# client; its versions count up within scope and kind. issued_at is empty while it is being made.
reports = Table(
    "reports",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("job_id", Text, ForeignKey("training_jobs.job_id")),
    Column("kind", Text, nullable=False),
    Column("version", Integer, nullable=False),
    *texts("audience", "title", "client", "fingerprint", "folder", "engine", "created_by"),
    Column("subject", JSON, nullable=False),
    Column("created_at", Moment, nullable=False, index=True),
    Column("issued_at", Moment),
    UniqueConstraint("scope", "kind", "version"),
    Index(None, "job_id"),
)

report_files = Table(
    "report_files",
    metadata,
    Column("report_id", Text, ForeignKey("reports.report_id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("sha256", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
)

shares = Table(
    "shares",
    metadata,
    Column("share_id", Text, primary_key=True),
    Column("job_id", Text, ForeignKey("training_jobs.job_id"), nullable=False),
    Column("kind", Text, nullable=False),
    *texts("recipient", "created_by"),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("revoked_at", Moment),
    *texts("storage", "place", "sha256", "report_id", "purpose"),
    *texts("overridden_by", "override_reason", "outcome", "outcome_note"),
    Column("outcome_at", Moment),
    Column("issued", Integer, nullable=False, default=1),
    Column("downloads", Integer),
    Index(None, "job_id"),
)
