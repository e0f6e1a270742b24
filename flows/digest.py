"""Every morning: yesterday in one message, to everybody who wants it."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks import people


@flow(name="digest", flow_run_name="digest")
def digest() -> dict[str, Any]:
    """What ended, runs and waits, and the month's money; sent once a day."""
    return people.digest()
