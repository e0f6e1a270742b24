"""Tables of what is told: the outbox, and the thread of each job in Slack."""

from __future__ import annotations

from sqlalchemy import JSON as PlainJson
from sqlalchemy import Column, Integer, Table, Text, UniqueConstraint

from brightrun.ledger_schema import Key, Moment, metadata

outbox = Table(
    "outbox",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),  # the same news to the same address is told once
    Column("channel", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("message", PlainJson(none_as_null=True), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("sent_at", Moment, index=True),
    Column("tries", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    UniqueConstraint("key", "channel", "address"),
)

threads = Table(
    "threads",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("ts", Text, nullable=False),
)
