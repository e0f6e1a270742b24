"""Every morning: is everything still there that jobs need, and of the versions that are pinned?"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.settings import PREFECT_API_URL

from flows import readiness
from tasks import examining


@flow(name="doctor", flow_run_name="doctor")
def doctor() -> list[dict[str, Any]]:
    """Credentials, prices, permissions, versions, deployments, workers; new failures are told."""
    return examining.examine(readiness.checks(PREFECT_API_URL.value() or ""))
