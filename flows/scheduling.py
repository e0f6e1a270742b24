"""The scheduler of Prefect 3.8 under SQLAlchemy 2.1, which asks hybrids what a bulk insert means.

Prefect's have no answer there, so that no schedule ever makes a run: nothing is reaped, no night
begins. SQLAlchemy 2.0 passed them over; so is done here.
"""

from __future__ import annotations

from typing import Any


def mend() -> None:
    """To be called in the process of Prefect's services, before they start."""
    from prefect.server.database import orm_models as orm

    for model in (orm.FlowRun, orm.TaskRun, orm.FlowRunState, orm.TaskRunState):
        known: Any = model.__mapper__.all_orm_descriptors
        for name in ("state", "data"):
            if name in known and getattr(known[name], "bulk_dml_setter", passed_over) is None:
                known[name].bulk_dml_setter = passed_over


def passed_over(model: type, values: dict[str, Any], value: object) -> None:
    """What the hybrid holds is written otherwise."""
