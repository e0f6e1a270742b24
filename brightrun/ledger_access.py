"""Who signs in at a Supabase project, and what of the ledger they see: row level security as code.

The rules are SQL, deployments/supabase/. What is missing is found by applying them in a transaction
that is rolled back: the difference of the catalogue before and after, so a rule that somebody
changed by hand is found too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from brightrun.errors import StorageError
from brightrun.ledger_store import engine_of, own_words
from brightrun.podcredentials import scope
from brightrun.podenv import storage_url
from brightrun.settings import CHECKOUT, Settings

RULES = CHECKOUT / "deployments" / "supabase"
ROLES = """
SELECT count(*) = 3 FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')
"""
SUPABASE_S3 = "/storage/v1/s3"
LOCK_MS = 5_000  # behind a long transaction of a job it gives up rather than hold up the next
BUCKETS = "SELECT 'bucket ' || id, 'public: ' || public FROM storage.buckets"


def is_supabase(settings: Settings) -> bool:
    """Whether the ledger's database has the roles that Supabase's API takes. StorageError."""
    engine = engine_of(settings)
    if engine.dialect.name != "postgresql":
        return False
    with _told(), engine.connect() as connection:
        return bool(connection.exec_driver_sql(ROLES).scalar())


def lacking(settings: Settings) -> tuple[str, ...]:
    """What `apply` would make or change, by name; nothing is. StorageError."""
    with _told(), engine_of(settings).connect() as connection, connection.begin() as begun:
        before = _facts(connection)
        _apply(connection, settings)
        after = _facts(connection)
        begun.rollback()
    changed = before.items() ^ after.items()
    return tuple(sorted({what for what, _ in changed}))


def apply(settings: Settings) -> None:
    """Grants, policies, views and the bucket, all or nothing. StorageError."""
    with _told(), engine_of(settings).begin() as connection:
        _apply(connection, settings)


def _apply(connection: Connection, settings: Settings) -> None:
    driver = _driver(connection)
    driver.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
    driver.execute((RULES / "access.sql").read_text())
    if holds_run_folders(settings) and _has_storage(connection):
        bucket, jobs = scope(storage_url(settings), "")
        for name, value in (("bucket", bucket), ("jobs", jobs)):
            driver.execute("SELECT set_config('brightrun.' || %s, %s, true)", (name, value))
        driver.execute((RULES / "storage.sql").read_text())


def holds_run_folders(settings: Settings) -> bool:
    """Whether run folders lie in the Storage of the ledger's own project, as a pod sees them."""
    endpoint = urlparse(settings.pod_storage_endpoint)
    if endpoint.path.rstrip("/") != SUPABASE_S3 or not storage_url(settings).startswith("s3:"):
        return False
    ledger = make_url(settings.database)
    host, user = ledger.host or "", ledger.username or ""
    return _project(endpoint.hostname or "") == (_project(host) or _pooled(host, user))


def _project(host: str) -> str:
    """Supabase's name of a project, by the host of its database or API; "" for a host of ours."""
    found = re.fullmatch(r"(?:db\.)?([a-z0-9]+)(?:\.storage)?\.supabase\.co", host.lower())
    return found[1] if found else ""


def _pooled(host: str, user: str) -> str:
    """Behind Supabase's pooler the user carries the name: postgres.PROJECT."""
    return user.rpartition(".")[2] if host.lower().endswith(".pooler.supabase.com") else ""


def _has_storage(connection: Connection) -> bool:
    found = _driver(connection).execute("SELECT to_regclass('storage.buckets') IS NOT NULL")
    return bool(found.fetchone()[0])


def _facts(connection: Connection) -> dict[str, str]:
    driver = _driver(connection)
    buckets = driver.execute(BUCKETS).fetchall() if _has_storage(connection) else []
    return dict(driver.execute((RULES / "catalogue.sql").read_text()).fetchall() + buckets)


def _driver(connection: Connection) -> Any:
    """psycopg's own connection: it takes a whole file of statements, and % as it is."""
    return connection.connection.driver_connection


@contextmanager
def _told() -> Iterator[None]:
    """The database's first line; a rule's text holds no secret, but it would hold up the reader."""
    from psycopg import Error

    try:
        yield
    except (Error, DBAPIError) as error:
        raise StorageError(
            f"row level security cannot be looked at or set: {own_words(error)}",
            cause="DATABASE_URL's user does not own the tables, or a long transaction holds them",
            fix="use the project's user postgres, and try again when fewer jobs run",
        ) from None
