"""The lists of `brightrun jobs`, `presets` and `budget` as tables in the Prefect UI."""

from __future__ import annotations

from typing import Any

from prefect import flow
from pydantic import Field

from brightrun.frozen import Frozen
from brightrun.history import Sort
from tasks import budgets, overviews


class OverviewRequest(Frozen):
    """Which jobs, and in which order."""

    client: str = Field(
        "",
        title="Client",
        max_length=120,
        description="Only this client's jobs, up to 120 letters. Empty: all",
    )
    sort: Sort = Field(
        "date",
        title="Order",
        description="date = newest first; cost = dearest; duration = longest; quality = most EI "
        "gain, unmeasured last",
    )
    limit: int = Field(50, title="Rows", ge=1, le=500, description="First so many jobs, 1-500")


@flow(name="overview", flow_run_name="overview")
def overview(request: OverviewRequest) -> dict[str, Any]:
    """Jobs, their sums, presets and the month's budget as tables.

    Args:
        request: Which jobs, and in which order.
    """
    found = overviews.sums(request.client)
    return {
        "jobs": overviews.jobs(request.client, request.sort, request.limit),
        "success_rate": found["success_rate"],
        "budget": budgets.show("", ""),
    }
