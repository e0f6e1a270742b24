"""The estimate alone: all presets and markets in one table, nothing started."""

from __future__ import annotations

from typing import Any

from prefect import flow
from pydantic import Field

from brightrun.frozen import Frozen
from tasks import estimates


class EstimateRequest(Frozen):
    """Which file, on whose machines."""

    training_file: str = Field(
        title="Training file",
        min_length=1,
        max_length=4096,
        description="What is priced: a name from `brightrun files list`, or a path that the worker "
        "can read, up to 4096 letters",
    )
    base_model: str = Field(
        "",
        title="Base model",
        description="Which model would learn: demo, tiny, a folder, a .gguf or a hub id. "
        "Empty: demo on local, Llama 3 70B on runpod",
    )


@flow(name="estimate", flow_run_name="estimate {request.training_file}")
def estimate(request: EstimateRequest) -> dict[str, Any]:
    """Validate the file and price every preset on every provider and market.

    Args:
        request: Which file to price.
    """
    reports = estimates.check(request.training_file, request.base_model)
    rows = estimates.price_all(reports, request.base_model)
    budget = estimates.month()
    estimates.show(request.training_file, rows, budget)
    return {"training_file": request.training_file, "rows": rows, "budget": budget}
