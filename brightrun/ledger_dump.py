"""The ledger's rows as lines of JSON, out of one database and into another, SQLite or Postgres.

The tables are read from the database itself, so that one of an older revision can be copied too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON as AnyJson
from sqlalchemy import Connection, DateTime, Engine, Integer, MetaData, Table, func, select, text

from brightrun.errors import StorageError
from brightrun.frozen import Frozen
from brightrun.ledger_schema import JSON, POSTGRES_SCHEMA
from brightrun.ledger_store import VERSION_TABLE

AT_ONCE = 1000


class Content(Frozen):
    """rows: how many; digest: the sum of their lines' sha256 modulo 2**256, hex.

    A sum, since databases sort texts each in their own way.
    """

    rows: int
    digest: str


def as_one_view(engine: Engine) -> Engine:
    """Whose reading transactions see one moment: SQLite's do, Postgres must be asked."""
    if engine.dialect.name != "postgresql":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def refuse_hidden_rows(connection: Connection) -> None:
    """In this transaction Postgres refuses a query from which a policy would hide rows."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL row_security = off"))


def tables(connection: Connection) -> list[Table]:
    """The ledger's tables, each after those that it refers to."""
    postgres = connection.dialect.name == "postgresql"
    found = MetaData()
    found.reflect(connection, schema=POSTGRES_SCHEMA if postgres else None)
    kept = [table for table in found.sorted_tables if table.name != VERSION_TABLE]
    for table in kept:
        for column in table.columns:
            if isinstance(column.type, AnyJson):
                column.type = JSON  # an absent value stays absent, instead of JSON's null
    return kept


def lines(connection: Connection, table: Table) -> Iterator[bytes]:
    """Each row as one line: columns sorted, moments in UTC, JSON in its own order."""
    rows = connection.execute(select(table), execution_options={"yield_per": AT_ONCE})
    for row in rows.mappings():
        plain = {name: _plain(value) for name, value in sorted(row.items())}
        yield json.dumps(plain, separators=(",", ":")).encode()


def has_rows(connection: Connection, table: Table) -> bool:
    return connection.execute(select(table).limit(1)).first() is not None


def content(told: Iterable[bytes]) -> Content:
    """What lines come to."""
    rows, total = 0, 0
    for line in told:
        rows += 1
        total += int.from_bytes(hashlib.sha256(line).digest(), "big")
    return Content(rows=rows, digest=f"{total % 2**256:x}")


def insert_lines(connection: Connection, table: Table, told: Iterable[bytes]) -> None:
    """Rows into an empty table; what refers to its own table is filled in when all are there."""
    own = [
        column.name
        for column in table.columns
        if any(key.column.table is table for key in column.foreign_keys)
    ]
    keys = [column.name for column in table.primary_key]
    waiting: list[tuple[dict[str, Any], dict[str, Any]]] = []
    batch: list[dict[str, Any]] = []
    for line in told:
        row = _typed(table, json.loads(line))
        later = {name: row[name] for name in own if row[name] is not None}
        if later:
            waiting.append(({name: row[name] for name in keys}, later))
        batch.append({**row, **dict.fromkeys(later)})
        if len(batch) == AT_ONCE:
            connection.execute(table.insert(), batch)
            batch = []
    if batch:
        connection.execute(table.insert(), batch)
    for key, values in waiting:
        same = [table.c[name] == value for name, value in key.items()]
        connection.execute(table.update().where(*same).values(values))


def number_on(connection: Connection, table: Table) -> None:
    """The next number of a key follows the greatest that was put in; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for column in table.primary_key:
        if isinstance(column.type, Integer):
            counter = func.pg_get_serial_sequence(f"{table.schema}.{table.name}", column.name)
            greatest = select(func.max(column)).scalar_subquery()
            connection.execute(select(func.setval(counter, greatest)))  # neither there: no effect


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return value


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """As the database takes it. StorageError: the row has other columns than the table."""
    if set(row) != {column.name for column in table.columns}:
        raise StorageError(
            f"a row of {table.name} has other columns than the table",
            cause="the backup was changed after it was made",
            fix="use another backup",
        )
    moments = {column.name for column in table.columns if isinstance(column.type, DateTime)}
    return {
        name: datetime.fromisoformat(value) if name in moments and value is not None else value
        for name, value in row.items()
    }
