"""What readers of a job's story need of an event: the run folder's and the ledger's rows fit."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol


class Happening(Protocol):
    """An event of attempt `attempt` (0: the control plane); payload as its type defines it."""

    @property
    def ts(self) -> datetime: ...
    @property
    def attempt(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def payload(self) -> dict[str, Any]: ...
