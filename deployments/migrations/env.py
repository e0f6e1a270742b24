"""Alembic's entry: runs in the connection and transaction that `ledger_store.migrate` opened.

A new revision: change brightrun/ledger_schema.py, write versions/NNNN_what.py by hand, raise
REVISION. A test proves on SQLite and Postgres that the migrated database equals the tables.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from brightrun.ledger_schema import POSTGRES_SCHEMA, metadata

POSTGRES_LOCK = 6_227_302  # any number, the same for all of us


def run(connection: Connection) -> None:
    """Upgrade in the given connection; all of it or nothing."""
    schema = None
    if connection.dialect.name == "postgresql":
        schema = POSTGRES_SCHEMA
        connection.execute(text(f"SELECT pg_advisory_xact_lock({POSTGRES_LOCK})"))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        connection.execute(text(f"SET LOCAL search_path TO {schema}"))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=schema,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
