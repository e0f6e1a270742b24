"""Where `make ui` of a home serves: written down while it is up, so that commands use it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from brightrun.ledger_jobs import process_is_alive
from brightrun.settings import Settings


def record(settings: Settings) -> Path:
    return settings.prefect_home / "server.json"


def remember(settings: Settings, api_url: str, reports_url: str) -> Path:
    """Record the server of this process."""
    facts = {"api_url": api_url, "reports_url": reports_url, "pid": os.getpid()}
    record(settings).write_text(json.dumps(facts))
    return record(settings)


def remembered(settings: Settings) -> dict[str, str]:
    """{api_url, reports_url, pid}; {} when there is none or it is being written."""
    try:
        found = json.loads(record(settings).read_text())
    except (OSError, ValueError):
        return {}
    return {key: str(value) for key, value in found.items()}


def run_pages(settings: Settings) -> str:
    """Address of the run pages while `make ui` is up, else "": one that was killed leaves its
    record behind, and a record without a process says nothing of pages."""
    known = remembered(settings)
    if "pid" not in known:
        return ""
    since = datetime.fromtimestamp(record(settings).stat().st_mtime, UTC)
    alive = process_is_alive(int(known["pid"]), since)
    return known["api_url"].removesuffix("/api") if alive else ""
