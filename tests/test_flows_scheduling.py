"""Prefect's scheduler inserts runs with the SQLAlchemy that is installed."""

from __future__ import annotations

from uuid import uuid4

import pytest
import sqlalchemy as sa
from prefect.server.database import orm_models as orm
from sqlalchemy.orm import Session

from flows import scheduling


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_a_run_of_a_schedule_can_be_inserted() -> None:
    """As Prefect does it: the run's values with its state among them, which is written apart."""
    scheduling.mend()
    engine = sa.create_engine("sqlite://")
    orm.FlowRun.__table__.create(engine)
    row = {"id": uuid4(), "flow_id": uuid4(), "name": "reap", "state": {"type": "SCHEDULED"}}
    with Session(engine) as session:
        session.execute(sa.insert(orm.FlowRun), [row])
        found = session.execute(sa.select(orm.FlowRun.id, orm.FlowRun.name)).one()
    assert tuple(found) == (row["id"], "reap")
