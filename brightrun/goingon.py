"""Going on with a stopped job: whoever spoke last, the cancel or pause, or who goes on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from brightrun.runfolder import RunFolder

ASKED = "control/goes_on.json"


def ask(folder: RunFolder, at: datetime | None = None) -> None:
    """Write down that somebody wants the job to go on, from now on."""
    folder.write_json(ASKED, {"at": (at or datetime.now(UTC)).isoformat()})


def asked_at(folder: RunFolder) -> datetime | None:
    """When somebody last wanted the job to go on; None: nobody said so."""
    if not folder.exists(ASKED):
        return None
    return datetime.fromisoformat(folder.read_json(ASKED)["at"])


def stop_stands(stop: Mapping[str, Any] | None, asked: datetime | None) -> bool:
    """Whether the standing order is a cancel or a pause, and nobody asked to go on after it."""
    if stop is None or stop["reason"] not in ("cancel", "pause"):
        return False
    return asked is None or asked <= datetime.fromisoformat(stop["at"])
