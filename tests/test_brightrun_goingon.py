"""Whoever spoke last decides: the cancel or pause, or the person who goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from brightrun import goingon
from brightrun.runfolder import RunFolder

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER, EARLIER = AT + timedelta(seconds=1), AT - timedelta(seconds=1)


def stop(reason: str) -> dict[str, Any]:
    return {"reason": reason, "by": "Ann", "at": AT.isoformat()}


@pytest.mark.parametrize(
    ("order", "asked", "stands"),
    [
        (None, None, False),
        (stop("switch"), None, False),
        (stop("budget"), None, False),
        (stop("cancel"), None, True),
        (stop("cancel"), EARLIER, True),
        (stop("cancel"), AT, True),
        (stop("cancel"), LATER, False),
        (stop("pause"), None, True),
        (stop("pause"), LATER, False),
    ],
)
def test_a_cancel_or_pause_stands_until_somebody_asks_to_go_on_after_it(
    order: dict[str, Any] | None, asked: datetime | None, stands: bool
) -> None:
    assert goingon.stop_stands(order, asked) is stands


def test_the_last_wish_to_go_on_is_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path.as_uri(), "j1")
    assert goingon.asked_at(folder) is None
    goingon.ask(folder, EARLIER)
    goingon.ask(folder, LATER)
    assert goingon.asked_at(folder) == LATER
