"""The registry's words: where an adapter stands, who moved it, what a night has done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

ROLLED_BACK = "rolled back: "


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


def before(moves: Iterable[MoveRow], present: str) -> str:
    """The job whose adapter was in production before that of `present` ("": none is now), "" where
    there was none. moves: of one series, oldest first.

    Who was rolled back from was no step forward: rolling back again goes further back.
    """
    steps: list[str] = []
    for move in moves:
        if move.after is not Stage.production:
            continue
        if move.reason.startswith(ROLLED_BACK) and move.job_id in steps:
            while steps[-1] != move.job_id:
                steps.pop()
        else:
            steps.append(move.job_id)
    while steps and steps[-1] == present:
        steps.pop()
    return steps[-1] if steps else ""
