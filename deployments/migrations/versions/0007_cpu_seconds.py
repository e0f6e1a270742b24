"""What a stage took of the processors: unknown of the jobs before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("observations", sa.Column("cpu_seconds", sa.Float()))
