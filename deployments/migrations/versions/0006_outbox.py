"""What is told to whom, and the thread of each job in Slack."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        *map(_text, ("key", "channel", "address", "job_id")),
        sa.Column("message", sa.JSON(none_as_null=True), nullable=False),
        _moment("created_at"),
        _moment("due_at"),
        _moment("sent_at", nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        _text("problem"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint(
            "key", "channel", "address", name=op.f("uq_outbox_key_channel_address")
        ),
    )
    op.create_index(op.f("ix_outbox_sent_at"), "outbox", ["sent_at"])
    op.create_table(
        "threads",
        *map(_text, ("job_id", "address", "ts")),
        sa.PrimaryKeyConstraint("job_id", "address", name=op.f("pk_threads")),
    )
