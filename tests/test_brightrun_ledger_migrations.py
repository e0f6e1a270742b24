"""A ledger of any earlier version opens in this one with what it held, on SQLite and Postgres."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, text

from brightrun.ledger import Ledger
from brightrun.ledger_schema import POSTGRES_SCHEMA, REVISION, metadata
from brightrun.ledger_store import MIGRATIONS, engine_of, migrate, transaction
from brightrun.settings import load

SCRIPTS = ScriptDirectory(str(MIGRATIONS))
REVISIONS = sorted(one.revision for one in SCRIPTS.walk_revisions())


def put(connection: Connection, name: str, **given: Any) -> None:
    """A row of a table as it was then; texts that it needs besides are empty."""
    schema = POSTGRES_SCHEMA if connection.dialect.name == "postgresql" else None
    table = Table(name, MetaData(), autoload_with=connection, schema=schema)
    needed = {c.name: "" for c in table.columns if not c.nullable and c.name not in given}
    connection.execute(table.insert().values({**needed, **given}))


def test_the_code_expects_the_newest_revision() -> None:
    assert SCRIPTS.get_heads() == [REVISIONS[-1]] == [REVISION]


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_ledger_of_every_earlier_revision_keeps_its_jobs_and_attempts(
    home: Path, revision: str
) -> None:
    settings = load()
    engine, then = engine_of(settings), datetime(2026, 11, 22, 12, tzinfo=UTC)
    migrate(engine, settings, revision)
    with transaction(engine, write=True) as connection:
        times = {"created_at": then, "updated_at": then}
        put(connection, "training_jobs", job_id="a", status="failed", training_file="f",
            request={}, **times)  # fmt: skip
        put(connection, "attempts", job_id="a", number=1, provider="local", market="on_demand",
            pod_name="br-a-1", usd_per_hour_micro=500_000, launched_at=then)  # fmt: skip
        put(connection, "observations", job_id="a", part="training", machine="cpu/2", model="tiny",
            precision="nf4", tokens=1000, seconds=12.5, at=then)  # fmt: skip
        for number, metric, note in ((1, "perplexity", ""), (2, "brand_voice", "Exploratory: x")):
            put(connection, "verdicts", id=number, job_id="a", metric=metric, evidence="human",
                n=9, n_clusters=9, target=0.85, target_met="pass", note=note)  # fmt: skip
    ledger = Ledger.open(settings)
    (kept,) = ledger.attempts("a")
    assert (kept.pod_name, kept.usd_per_hour) == ("br-a-1", Decimal("0.5"))
    assert (kept.data_center, kept.gpu, kept.ended_at) == ("", "", None)
    (seen,) = ledger.observed("cpu/2", "tiny")
    assert (seen.job_id, seen.seconds, seen.cpu_seconds) == ("a", 12.5, None)
    assert [job.training_file for job in ledger.jobs()] == ["f"]
    assert ledger.verdicts_of_jobs() == {
        "a": (("perplexity", "pass", True), ("brand_voice", "exploratory", True))
    }
    with ledger.read() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL search_path TO {POSTGRES_SCHEMA}"))
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
