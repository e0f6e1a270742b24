"""One measured number of the load bench: a JSON line, and what it is held against."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]


def row(
    part: str,
    what: str,
    value: float,
    unit: str,
    wanted: str = "",
    met: bool | None = None,
    cpu_s: float | None = None,
) -> Row:
    """wanted: in words, "" where nothing was asked for; met: whether it is so; cpu_s: of the asking
    process alone."""
    return {
        "part": part, "what": what, "value": value, "unit": unit, "wanted": wanted, "met": met,
        "cpu_s": None if cpu_s is None else round(cpu_s, 3),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": round(os.getloadavg()[0], 2), "cores": os.cpu_count(),
    }  # fmt: skip
