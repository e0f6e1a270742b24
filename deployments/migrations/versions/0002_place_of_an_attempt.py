"""Where a pod was rented: data centre and GPU, so that a place that failed is avoided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("data_center", "gpu"):
        op.add_column("attempts", sa.Column(name, sa.Text(), nullable=False, server_default=""))
