"""Tables of the money that is promised: holds, thresholds, who may approve, and the audit log."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Table, Text

from brightrun.ledger_schema import Key, Moment, metadata

holds = Table(
    "budget_holds",
    metadata,
    Column("job_id", Text, ForeignKey("training_jobs.job_id"), primary_key=True),
    Column("client", Text, nullable=False),
    Column("hold_micro", BigInteger, nullable=False),  # the whole job's cost, at most
    Column("placed_at", Moment, nullable=False),
    Column("released_at", Moment, index=True),
)

gate_limits = Table(
    "gate_limits",
    metadata,
    Column("client", Text, primary_key=True),  # "" = every client without a row of its own
    Column("warn_micro", BigInteger),
    Column("approve_micro", BigInteger),
    Column("warn_times", Float),
    Column("approve_times", Float),
    Column("set_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("set_at", Moment, nullable=False),
)

approvers = Table(
    "approvers",
    metadata,
    Column("name", Text, primary_key=True),  # "" = everybody without a row of their own
    Column("limit_micro", BigInteger, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", Moment, nullable=False),
)

budget_log = Table(
    "budget_log",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("month", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("before_micro", BigInteger),
    Column("after_micro", BigInteger),
    Column("reason", Text, nullable=False),
    Index(None, "at"),
)
