"""What one look came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "fail", "not checked"]


@dataclass(frozen=True)
class Found:
    """said: in one line; faults: one line each, none unless it failed."""

    what: str
    state: State
    said: str
    faults: tuple[str, ...] = ()
