"""What doctor asks of the Supabase project: the kind of key, whether it answers, and its rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import jwt

from brightrun import appfiles, ledger_access
from brightrun.errors import StorageError
from brightrun.findings import Finding
from brightrun.ledger_schema import REVISION
from brightrun.ledger_store import standing
from brightrun.settings import Settings

KeyKind = Literal["secret", "publishable", "legacy service_role", "legacy anon", "unknown"]
SHOWN = 5  # of the rules that are missing, by name
NEW = "in the project's Settings > API Keys make a secret key (sb_secret_...) for SUPABASE_KEY"


def key_kind(key: str) -> KeyKind:
    """By its form alone: nothing is verified. Legacy keys are JSON web tokens that name a role."""
    if key.startswith("sb_secret_"):
        return "secret"
    if key.startswith("sb_publishable_"):
        return "publishable"
    try:
        role = jwt.decode(key, options={"verify_signature": False}).get("role")
    except jwt.InvalidTokenError:
        return "unknown"
    if role == "service_role":
        return "legacy service_role"
    return "legacy anon" if role == "anon" else "unknown"


def rules(settings: Settings) -> Iterator[Finding]:
    """Who sees what of a ledger in a Supabase project: a rule that was changed by hand is found.

    Looked at in a transaction that is rolled back (`ledger_access`).
    """
    name = "row level security"
    if not settings.database.startswith("postgres") or standing(settings)[1] != REVISION:
        return
    if not ledger_access.is_supabase(settings):
        return
    try:
        lacking = ledger_access.lacking(settings)
    except StorageError as error:  # a long transaction of a job is no hole
        yield Finding(name=name, state="warn", said=error.message, fix=error.fix)
        return
    if lacking:
        said = f"not as deployments/supabase/ says: {', '.join(lacking[:SHOWN])}"
        said += f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        yield Finding(name=name, state="fail", said=said, fix="brightrun setup")
    else:
        said = "grants, policies and views are as they should be"
        yield Finding(name=name, state="ok", said=said)


def check(settings: Settings) -> Iterator[Finding]:
    """The key, and the table of training files as it reads it."""
    if not settings.supabase_url or settings.supabase_key is None:
        said, fix = "no project: no files of an application", "set SUPABASE_URL and SUPABASE_KEY"
        yield Finding(name="supabase", state="skip", said=said, fix=fix)
        return
    kind = key_kind(settings.supabase_key.get_secret_value())
    if kind in ("publishable", "legacy anon"):
        said = f"SUPABASE_KEY is a {kind} key: it reads and writes only what everybody may"
        yield Finding(name="supabase", state="fail", said=said, fix=NEW)
        return
    if kind == "legacy service_role":
        said = "SUPABASE_KEY is a legacy service_role key: Supabase ends them with the year 2026"
        yield Finding(name="supabase", state="warn", said=said, fix=NEW)
    if kind == "unknown":
        said = "SUPABASE_KEY has the form of no key that we know; it is tried all the same"
        yield Finding(name="supabase", state="warn", said=said, fix=NEW)
    count = len(appfiles.listed(settings))
    said = f"{settings.supabase_url} answers; it has {count} training files"
    yield Finding(name="supabase", state="ok", said=said)
