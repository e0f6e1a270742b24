"""A stub of what a Supabase project has in its Postgres before our tables come; not Supabase.

The roles of its API, its default of giving everything new in `public` to all of them, and the two
tables of Storage that policies look at. Real are Postgres, its row level security and the roles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

STUB = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN
        CREATE ROLE anon NOLOGIN;
        CREATE ROLE authenticated NOLOGIN;
        CREATE ROLE service_role NOLOGIN BYPASSRLS;
        CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'test';
        GRANT anon, authenticated, service_role TO authenticator;
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
CREATE SCHEMA storage;
GRANT USAGE ON SCHEMA storage TO anon, authenticated, service_role;
CREATE TABLE storage.buckets (id text PRIMARY KEY, name text NOT NULL UNIQUE, public boolean);
CREATE TABLE storage.objects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    bucket_id text REFERENCES storage.buckets, name text, UNIQUE (bucket_id, name));
ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
GRANT ALL ON ALL TABLES IN SCHEMA storage TO anon, authenticated, service_role;
"""


def prepare(url: str) -> None:
    with psycopg.connect(url) as session:
        session.execute(STUB)


@contextmanager
def signed_in(url: str, role: str, **claims: Any) -> Iterator[psycopg.Connection]:
    """A transaction as PostgREST and Storage open it for a token; undone at its end."""
    with psycopg.connect(url) as session:
        said = json.dumps({"role": role, **claims})
        session.execute("SELECT set_config('request.jwt.claims', %s, true)", (said,))
        session.execute(f"SET LOCAL ROLE {role}")  # type: ignore[arg-type]
        yield session
        session.rollback()


def person(standing: str, name: str = "ann@example.org") -> dict[str, Any]:
    return {"sub": "7d0c", "email": name, "app_metadata": {"brightrun": standing}}
