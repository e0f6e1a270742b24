"""The client's own figures: what an improvement would be worth, as they assume it. Pure.

    figures = read(Path("figures.toml"))     # examples/figures.toml shows every key
    worth(figures) -> rows, value a month, months to earn the price back

Nothing here is measured. Every figure is somebody's assumption and is printed as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from brightrun import tomlfiles
from brightrun.frozen import Frozen


class Benefit(Frozen):
    """Something that happens so often a month, is worth so much, and may change by a share."""

    name: str = Field(min_length=1, max_length=140)
    per_month: float = Field(gt=0, le=1e12, description="How often it happens in a month")
    usd_each: float = Field(gt=0, le=1e9, description="What one of it is worth or costs, dollars")
    assumed_change: float = Field(
        gt=0, le=1, description="Assumed share that gets better: 0.02 is 2 %"
    )
    source: str = Field("", max_length=200, description="Where the numbers come from")


class Figures(Frozen):
    """The file as written; price_usd is what the client pays, once."""

    price_usd: float = Field(gt=0, le=1e9)
    running_usd_per_month: float = Field(0, ge=0, le=1e9, description="Serving, support")
    months: int = Field(12, ge=1, le=120, description="How far ahead the table looks")
    stated_by: str = Field(min_length=1, max_length=120, description="Who assumes this")
    stated_on: str = Field("", max_length=40)
    benefits: tuple[Benefit, ...] = Field(min_length=1, max_length=20)


@dataclass(frozen=True, slots=True)
class Worth:
    """Dollars a month by benefit; break_even: the change that alone earns the price back within
    the months looked at, None where even all of it would not."""

    name: str
    usd_per_month: float
    break_even: float | None


@dataclass(frozen=True, slots=True)
class Case:
    """rows: one a benefit. usd_per_month: all of them less running costs. net_usd: over all months
    less the price. months_to_earn: None when that never happens. needed_usd_per_month: what it must
    be worth to earn price and running costs back in the months looked at."""

    rows: tuple[Worth, ...]
    usd_per_month: float
    net_usd: float
    months_to_earn: float | None
    needed_usd_per_month: float


def worth(figures: Figures) -> Case:
    """The cost-benefit table and its break-even, from the assumptions alone."""
    needed = figures.price_usd / figures.months + figures.running_usd_per_month
    rows = []
    for benefit in figures.benefits:
        whole = benefit.per_month * benefit.usd_each
        share = needed / whole
        rows.append(Worth(benefit.name, whole * benefit.assumed_change, min_share(share)))
    monthly = sum(row.usd_per_month for row in rows) - figures.running_usd_per_month
    return Case(
        rows=tuple(rows),
        usd_per_month=monthly,
        net_usd=monthly * figures.months - figures.price_usd,
        months_to_earn=figures.price_usd / monthly if monthly > 0 else None,
        needed_usd_per_month=needed,
    )


def min_share(share: float) -> float | None:
    """A share that can be reached, rounded up to a tenth of a percent; None above all of it."""
    up = math.ceil(share * 1000 - 1e-9) / 1000
    return up if up <= 1 else None


def read(path: Path) -> Figures:
    """ConfigurationError names file, line and fault."""
    return tomlfiles.read(path, Figures, "figures file")
