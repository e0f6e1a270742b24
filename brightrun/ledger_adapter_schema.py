"""Tables of the adapters' stages and of the nights that train them."""

from __future__ import annotations

from sqlalchemy import JSON as PlainJson
from sqlalchemy import Column, ForeignKey, Index, Table, Text

from brightrun.ledger_schema import Key, Moment, metadata

adapters = Table(
    "adapters",
    metadata,
    Column("job_id", Text, ForeignKey("training_jobs.job_id"), primary_key=True),
    Column("series", Text, nullable=False, index=True),  # the training file's name
    Column("stage", Text, nullable=False),
    Column("adapter_sha256", Text, nullable=False),
    Column("source_sha256", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
)

adapter_moves = Table(
    "adapter_moves",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("job_id", Text, ForeignKey("training_jobs.job_id"), nullable=False),
    Column("series", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Index(None, "series"),
)

nights = Table(
    "nights",
    metadata,
    Column("night", Text, primary_key=True),  # its date where the months begin: 2026-11-23
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("report", PlainJson(none_as_null=True)),
)
