"""Issued reports with their files, and what is known of a share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REPORT_TEXTS = ("audience", "title", "client", "fingerprint", "folder", "engine", "created_by")
SHARE_TEXTS = (
    "storage", "place", "sha256", "report_id", "purpose",
    "overridden_by", "override_reason", "outcome", "outcome_note",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in REPORT_TEXTS),
        sa.Column("subject", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["job_id"], ["training_jobs.job_id"], name=op.f("fk_reports_job_id")
        ),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_reports")),
        sa.UniqueConstraint("scope", "kind", "version", name=op.f("uq_reports_scope_kind_version")),
    )
    op.create_index(op.f("ix_reports_job_id"), "reports", ["job_id"])
    op.create_index(op.f("ix_reports_created_at"), "reports", ["created_at"])
    op.create_table(
        "report_files",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id"], ["reports.report_id"], name=op.f("fk_report_files_report_id")
        ),
        sa.PrimaryKeyConstraint("report_id", "name", name=op.f("pk_report_files")),
    )
    op.create_index(op.f("ix_report_files_sha256"), "report_files", ["sha256"])
    for name in SHARE_TEXTS:
        op.add_column("shares", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("shares", sa.Column("outcome_at", sa.DateTime(timezone=True)))
    op.add_column("shares", sa.Column("issued", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("shares", sa.Column("downloads", sa.Integer()))
