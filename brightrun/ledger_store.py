"""The ledger's database: engine, transactions, and migration at the first opening.

SQLite: write-ahead log, foreign keys, and every writing transaction takes the write lock when it
begins (a late upgrade would fail at once instead of waiting). Postgres: schema `brightrun`.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.pool import NullPool

from brightrun.errors import ConfigurationError, LedgerAway, StorageError
from brightrun.ledger_schema import POSTGRES_SCHEMA, REVISION
from brightrun.settings import CHECKOUT, Settings

MIGRATIONS = CHECKOUT / "deployments" / "migrations"
VERSION_TABLE = "alembic_version"
BUSY_SECONDS = 30
# Seconds to connect, seconds of silence before it is asked whether the other side still lives, and
# milliseconds after which what was sent counts as lost.
LIBPQ = {
    "connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}  # fmt: skip
LOCK_SECONDS = 120


class Database(Protocol):
    """What the ledger's queries need of it."""

    @property
    def settings(self) -> Settings: ...
    def read(self) -> AbstractContextManager[Connection]: ...
    def write(self) -> AbstractContextManager[Connection]: ...


def insert(connection: Connection, table: Table) -> Any:
    """INSERT that knows ON CONFLICT in the connection's dialect."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def to_json(value: Any) -> str:
    """ASCII JSON, which any database takes; NaN and infinities become strings."""
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def engine_of(settings: Settings) -> Engine:
    """An engine for settings.database; ConfigurationError: URL or driver unusable."""
    try:
        url = make_url(settings.database)
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise ArgumentError(f"{url.get_backend_name()} is not supported")
        if url.get_backend_name() == "postgresql":
            return _postgres(url)
        # Opening a file is cheap; no connection outlives the transaction that needed it.
        engine = create_engine(url, json_serializer=to_json, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"DATABASE_URL cannot be used: {error}",
            cause="wrong URL, or the driver is not installed",
            fix="use sqlite:///FILE or postgresql://... (needs `pip install psycopg[binary]`)",
        ) from None
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


@cache
def _postgres(url: URL) -> Engine:
    """One engine, so one small pool, per process: every task opens the ledger afresh."""
    # A server that swallows packets must not hold up who renews a pod's lease. What the URL says
    # goes first.
    libpq = url.get_driver_name().startswith("psycopg")
    patience = {name: LIBPQ[name] for name in LIBPQ.keys() - url.query.keys() if libpq}
    engine = create_engine(
        url, json_serializer=to_json, pool_size=2, pool_pre_ping=True, connect_args=patience
    )
    return engine.execution_options(schema_translate_map={None: POSTGRES_SCHEMA})


def _on_connect(dbapi: sqlite3.Connection, _record: object) -> None:
    dbapi.isolation_level = None  # we say BEGIN ourselves
    dbapi.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    dbapi.execute("PRAGMA foreign_keys = ON")
    dbapi.execute("PRAGMA synchronous = FULL")  # money: a commit survives a power cut


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("brightrun_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, write: bool) -> Iterator[Connection]:
    """One transaction, committed at its end; StorageError when the database cannot be used."""
    try:
        opened = engine.connect().execution_options(brightrun_write=write)
        with opened as connection, connection.begin():
            yield connection
    except DatabaseError as error:
        if isinstance(error, IntegrityError | ProgrammingError | DataError):
            raise
        kind = LedgerAway if _is_away(error) else StorageError
        raise kind(
            f"the ledger cannot be used: {error.orig}",
            cause="the disk is full, the file is not writable, or the database is away",
            fix="mend it and run the same command again: nothing was half-written",
        ) from None


def _is_away(error: DatabaseError) -> bool:
    """A Postgres that cannot be reached gives no SQLSTATE; 08: connection lost, 57P: shut down."""
    state = getattr(error.orig, "sqlstate", "of another database")
    return isinstance(error, OperationalError) and str(state or "08").startswith(("08", "57P"))


def is_new(engine: Engine) -> bool:
    """Whether it is a SQLite file that is not there yet."""
    return engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists()


def standing(settings: Settings) -> tuple[Engine, str | None]:
    """The database and its revision, None: not made, or without tables. Nothing is created."""
    engine = engine_of(settings)
    return engine, None if is_new(engine) else revision(engine)


def newer(found: str) -> ConfigurationError:
    """What a checkout says that is older than its database."""
    return ConfigurationError(
        f"the ledger has revision {found}, this checkout knows {REVISION} and older ones",
        fix="use the newer checkout, or another DATABASE_URL",
    )


def require_known(found: str) -> None:
    """ConfigurationError: the revision is newer than this checkout."""
    if found > REVISION:
        raise newer(found)


def revision(engine: Engine) -> str | None:
    """Revision of the database, None when it is new."""
    schema = POSTGRES_SCHEMA if engine.dialect.name == "postgresql" else None
    with transaction(engine, write=False) as connection:
        if not inspect(connection).has_table(VERSION_TABLE, schema=schema):
            return None
        table = f"{schema}.{VERSION_TABLE}" if schema else VERSION_TABLE
        found = connection.execute(text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608
        return None if found is None else str(found)


def migrate(engine: Engine, settings: Settings, to: str = "") -> None:
    """Bring the database up to a revision, by default REVISION.

    One process at a time; the others wait and find it done.
    """
    home, wanted = settings.home.resolve(), to or REVISION
    try:
        home.mkdir(parents=True, exist_ok=True)
        made_now = is_new(engine)
        if not made_now and revision(engine) == wanted:
            return
        with FileLock(home / "ledger.lock", timeout=LOCK_SECONDS):
            if made_now and engine.url.database:
                Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
            if revision(engine) != wanted:
                _upgrade(engine, wanted)
    except Timeout:
        raise StorageError(
            f"another process has been migrating the ledger for {LOCK_SECONDS} s",
            fix=f"if none is running, remove {home / 'ledger.lock'} and try again",
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot use {home}: {error.strerror or error}",
            fix="set BRIGHTRUN_HOME to a folder that you may write to",
        ) from None


def _upgrade(engine: Engine, to: str) -> None:
    # 0.2 s of imports that an up-to-date ledger never pays
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    if engine.dialect.name == "sqlite":
        _use_write_ahead_log(engine)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with transaction(engine, write=True) as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, to)
        except CommandError as error:
            raise ConfigurationError(
                f"the ledger cannot be migrated: {error}",
                cause="it was written by a newer version of this project",
                fix="use the newer checkout, or another BRIGHTRUN_HOME",
            ) from None


def _use_write_ahead_log(engine: Engine) -> None:
    """Switching needs the file for itself for a moment; readers of the version come and go."""
    raw = engine.raw_connection()
    try:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                raw.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if time.monotonic() > deadline:
                    raise StorageError(f"the ledger cannot be used: {error}") from None
                time.sleep(0.02)
    finally:
        raw.close()


def own_words(error: Exception) -> str:
    """The first line of what the database says, without SQL and values."""
    return str(error.orig if isinstance(error, DBAPIError) else error).split("\n")[0]
