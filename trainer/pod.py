"""The pod's configuration: environment only. Standard library only."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class MissingVariable(Exception):
    """An environment variable that the pod cannot run without is absent or unreadable."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One attempt. interrupt_at: SIGKILL itself after that step; expected: seconds by stage;
    choices: overrides of `trainer.choices`;
    storage_patience: overrides for how many seconds storage trouble is waited out;
    limit_hours: so long the pod may run, from the money that is left."""

    job_id: str
    attempt: int
    storage_url: str
    models: Path
    threads: int
    interrupt_at: int | None = None
    expected: dict[str, float] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)
    storage_patience: float | None = None
    limit_hours: float = math.inf

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Pod:
        """Read BRIGHTRUN_* and STORAGE_URL; MissingVariable names the one that is wrong."""
        name = ""
        try:
            name = "BRIGHTRUN_ATTEMPT"
            attempt = int(environ[name])
            name = "BRIGHTRUN_THREADS"
            threads = int(environ.get(name, "") or os.cpu_count() or 1)
            name = "BRIGHTRUN_INTERRUPT_AT"
            interrupt_at = _optional(environ.get(name, ""))
            name = "BRIGHTRUN_STORAGE_PATIENCE"
            patience = environ.get(name, "")
            storage_patience = float(patience) if patience else None
            name = "BRIGHTRUN_LIMIT_HOURS"
            limit_hours = float(environ.get(name, "") or math.inf)
            name = "BRIGHTRUN_EXPECTED"
            expected = dict(json.loads(environ.get(name, "") or "{}"))
            name = "BRIGHTRUN_CHOICES"
            choices = dict(json.loads(environ.get(name, "") or "{}"))
            name = "BRIGHTRUN_JOB_ID"
            job_id = environ[name]
            name = "STORAGE_URL"
            storage_url = environ[name]
            name = "BRIGHTRUN_MODELS"
            models = Path(environ[name])
        except KeyError:
            raise MissingVariable(f"environment variable {name} is not set") from None
        except (TypeError, ValueError):
            raise MissingVariable(f"environment variable {name} cannot be read") from None
        return cls(
            job_id, attempt, storage_url, models, threads, interrupt_at, expected,
            choices, storage_patience, limit_hours,
        )  # fmt: skip

    def folder(self, relative: str = "") -> str:
        """Path of this attempt inside the run folder."""
        return f"attempts/{self.attempt}/{relative}" if relative else f"attempts/{self.attempt}"


def _optional(text: str) -> int | None:
    return int(text) if text else None
