"""Which attempt brought a job further than all before it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def advances(
    attempts: Mapping[int, Iterable[tuple[str, Mapping[str, Any]]]],
) -> dict[int, int]:
    """Attempt -> how many of its (type, payload) events went beyond every earlier attempt.

    A pod that dies again and again at the same step repeats its steps: that is no progress.
    """
    best: dict[str, int] = {}
    found = {}
    for attempt in sorted(attempts):
        reached = dict(best)
        found[attempt] = 0
        for kind, payload in attempts[attempt]:
            mark = _landmark(kind, payload)
            if mark is None:
                continue
            name, value = mark
            found[attempt] += value > best.get(name, 0)
            reached[name] = max(value, reached.get(name, 0))
        best = reached
    return found


def _landmark(kind: str, payload: Mapping[str, Any]) -> tuple[str, int] | None:
    if kind == "metric" and "loss" in payload:
        return "step", int(payload["step"])
    if kind == "checkpoint":
        return "checkpoint", int(payload["step"])
    if kind == "progress" and "done" in payload:
        return f"{payload['stage']} {payload.get('what', '')}", int(payload["done"])
    return None
