"""The form and the table for who keeps the budget: look at a month, or change its limit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, Self

from prefect import flow
from pydantic import Field, model_validator

from brightrun.frozen import Frozen
from tasks import budgets


class BudgetRequest(Frozen):
    """What is to be done with which month's budget."""

    action: Literal["show", "set", "raise"] = Field(
        "show",
        title="Action",
        description="show = only look; set = the new limit; raise = so much more than it has",
    )
    usd: Decimal | None = Field(
        None,
        title="Dollars",
        ge=0,
        le=999_999_999,
        description="For set the limit, for raise what is added, 0 to 999999999; needed for both",
    )
    client: str = Field(
        "",
        title="Client",
        max_length=120,
        description="Whose budget, up to 120 letters. Empty: of all jobs",
    )
    month: str = Field(
        "",
        title="Month",
        pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$",
        description="Which one, as 2026-11. Empty: the month that runs",
    )
    by: str = Field(
        "",
        title="Your name",
        max_length=120,
        description="Who decides, for the audit log; needed for set and raise, up to 120 letters",
    )
    reason: str = Field(
        "",
        title="Reason",
        max_length=2000,
        description="Why, for the audit log; needed for set and raise, up to 2000 letters",
    )

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if self.action != "show" and self.usd is None:
            raise ValueError(f"{self.action} needs Dollars; 0 is a limit that stops every job")
        return self


@flow(name="budget", flow_run_name="budget {request.action} {request.month}")
def budget(request: BudgetRequest) -> dict[str, Any]:
    """The month's money as a table; sets or raises its limit when asked to.

    Args:
        request: What is to be done.
    """
    if request.action != "show":
        budgets.change(**request.model_dump())
    return budgets.show(request.month, request.client)
