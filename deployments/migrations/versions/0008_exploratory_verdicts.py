"""Whether a verdict stands outside the plan; of the ones before, their note says it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("verdicts", sa.Column("exploratory", sa.Boolean()))
    later, note = sa.column("exploratory", sa.Boolean()), sa.column("note", sa.Text())
    verdicts = sa.table("verdicts", later, note)
    op.execute(verdicts.update().values(exploratory=note.contains("Exploratory: ")))
