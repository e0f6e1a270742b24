"""What clients paid, as the business states it: the ledger knows costs only.

[[revenue]]
job = "261123-8207ac"      # or: client = "Acme" (with month), for what is not of one job
usd = 12000
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from brightrun import tomlfiles
from brightrun.frozen import Frozen


class Received(Frozen):
    """An amount for one job, or for a client's month."""

    job: str = ""
    client: str = ""
    month: str = Field("", pattern=r"^(\d{4}-\d{2})?$", description="2026-11")
    usd: float = Field(ge=0, le=1e9)
    note: str = Field("", max_length=200)

    @model_validator(mode="after")
    def about_one_thing(self) -> Received:
        if bool(self.job) == bool(self.client and self.month):
            raise ValueError("name either a job, or a client with a month")
        return self


class Revenue(Frozen):
    stated_by: str = Field("", max_length=120)
    revenue: tuple[Received, ...] = Field((), max_length=10_000)


def read(path: Path) -> Revenue:
    """ConfigurationError names file, line and fault."""
    return tomlfiles.read(path, Revenue, "revenue file")
