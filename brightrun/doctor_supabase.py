"""What doctor asks of the Supabase project: which kind of key there is, and whether it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import jwt

from brightrun import appfiles
from brightrun.findings import Finding
from brightrun.settings import Settings

KeyKind = Literal["secret", "publishable", "legacy service_role", "legacy anon", "unknown"]
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


def check(settings: Settings) -> Iterator[Finding]:
    """The key, and the table of training files as it reads it."""
    if not settings.supabase_url or settings.supabase_key is None:
        yield Finding(name="supabase", state="skip", said="no project: no files of an application")
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
