"""The registry's words: where an adapter stands, who moved it, what a night has done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Stage(StrEnum):
    """stored: a finished job's; testing: looked at; production: what clients get; archived."""

    stored = "stored"
    testing = "testing"
    production = "production"
    archived = "archived"


@dataclass(frozen=True, slots=True)
class AdapterRow:
    """series: the training file's registered name, else its file name; one of it in production."""

    job_id: str
    series: str
    stage: Stage
    adapter_sha256: str
    source_sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MoveRow:
    job_id: str
    series: str
    before: Stage
    after: Stage
    who: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class NightRow:
    """finished_at None: it runs, or was killed."""

    night: str
    started_at: datetime
    finished_at: datetime | None
    report: dict[str, Any] | None
