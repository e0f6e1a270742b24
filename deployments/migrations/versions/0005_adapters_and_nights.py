"""Stages of adapters, who moved them, and the nights that train them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "adapters",
        *map(_text, ("job_id", "series", "stage", "adapter_sha256", "source_sha256")),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["training_jobs.job_id"], name=op.f("fk_adapters_job_id")
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_adapters")),
    )
    op.create_index(op.f("ix_adapters_series"), "adapters", ["series"])
    op.create_table(
        "adapter_moves",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        *map(_text, ("job_id", "series", "before", "after", "who", "reason")),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["training_jobs.job_id"], name=op.f("fk_adapter_moves_job_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapter_moves")),
    )
    op.create_index(op.f("ix_adapter_moves_series"), "adapter_moves", ["series"])
    op.create_table(
        "nights",
        _text("night"),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("report", sa.JSON(none_as_null=True)),
        sa.PrimaryKeyConstraint("night", name=op.f("pk_nights")),
    )
