"""Promised money: holds of the gate, thresholds by client, approvers, the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _micro(name: str, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, MOMENT, nullable=nullable)


def upgrade() -> None:
    job = sa.ForeignKeyConstraint(
        ["job_id"], ["training_jobs.job_id"], name=op.f("fk_budget_holds_job_id")
    )
    op.create_table(
        "budget_holds",
        _text("job_id"),
        _text("client"),
        _micro("hold_micro", nullable=False),
        _moment("placed_at"),
        _moment("released_at", nullable=True),
        job,
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_budget_holds")),
    )
    op.create_index(op.f("ix_budget_holds_released_at"), "budget_holds", ["released_at"])
    op.create_table(
        "gate_limits",
        _text("client"),
        _micro("warn_micro"),
        _micro("approve_micro"),
        sa.Column("warn_times", sa.Float()),
        sa.Column("approve_times", sa.Float()),
        _text("set_by"),
        _text("note"),
        _moment("set_at"),
        sa.PrimaryKeyConstraint("client", name=op.f("pk_gate_limits")),
    )
    op.create_table(
        "approvers",
        _text("name"),
        _micro("limit_micro", nullable=False),
        _text("set_by"),
        _moment("set_at"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_approvers")),
    )
    op.create_table(
        "budget_log",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        _moment("at"),
        *map(_text, ("who", "action", "month", "client", "job_id")),
        _micro("before_micro"),
        _micro("after_micro"),
        _text("reason"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_log")),
    )
    op.create_index(op.f("ix_budget_log_at"), "budget_log", ["at"])
    # Jobs that have passed their gate already keep their promise.
    op.execute(
        "INSERT INTO budget_holds (job_id, client, hold_micro, placed_at) "
        "SELECT job_id, client, hard_limit_micro, updated_at FROM training_jobs "
        "WHERE hard_limit_micro IS NOT NULL AND started_at IS NOT NULL "
        "AND status IN ('queued', 'running', 'paused', 'evaluating', 'reporting')"
    )
