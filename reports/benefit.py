"""Cost and benefit from the client's own figures: every number is an assumption, printed as one."""

from __future__ import annotations

from brightrun.counting import count
from brightrun.figures import Case, Figures, worth
from brightrun.verdicts import Table
from reports import blocks, formats, tables
from reports.escape import Markdown, markdown
from reports.tables import Column

NONE_GIVEN = (
    "No figures of the client were given, so none are shown. A file with them "
    "(examples/figures.toml) fills this section: brightrun report JOB --figures FILE."
)
LAYOUT = {
    "assumed_change": Column("Assumed change", tables.percent),
    "break_even": Column(
        "Alone pays at", lambda v: "not reachable" if v is None else tables.percent(v)
    ),
    "source": Column("Source"),
}


def section(figures: Figures | None) -> Markdown:
    """The table, and the value that is needed to earn the price back."""
    if figures is None:
        return Markdown(f"\n\n{markdown(NONE_GIVEN)}\n\n")
    case = worth(figures)
    on = f" on {figures.stated_on}" if figures.stated_on else ""
    banner = blocks.banner(
        "warn",
        "Assumptions, not measurements",
        f"Every figure here was stated by {figures.stated_by}{on}. Nothing in the validation shows "
        "that it will come true.",
    )
    said = markdown(sentence(figures, case))
    return Markdown(f"{banner}\n\n{said}\n\n{blocks.table(table(figures, case), LAYOUT)}")


def sentence(figures: Figures, case: Case) -> str:
    """Price, break-even, and what the assumptions add up to."""
    months = count(figures.months, "month")
    needed = (
        f"To earn {formats.usd(figures.price_usd)} back within {months}"
        + (
            f", running costs of {formats.usd(figures.running_usd_per_month)} a month included"
            if figures.running_usd_per_month
            else ""
        )
        + f", it must be worth {formats.usd(case.needed_usd_per_month)} a month."
    )
    if case.months_to_earn is None:
        return f"{needed} Under these assumptions it never earns its price back."
    return (
        f"{needed} Under these assumptions it is worth {formats.usd(case.usd_per_month)} a month "
        f"after running costs, earns its price back in {formats.number(case.months_to_earn, 1)} "
        f"months, and leaves {formats.usd(case.net_usd)} after {months}."
    )


def table(figures: Figures, case: Case) -> Table:
    rows = tuple(
        (b.name, b.per_month, b.usd_each, b.assumed_change, row.usd_per_month, row.break_even,
         b.source)
        for b, row in zip(figures.benefits, case.rows, strict=True)
    )  # fmt: skip
    return Table(
        columns=("Assumed benefit", "A month", "Worth $", "assumed_change", "Value a month $",
                 "break_even", "source"),
        rows=rows,
        caption="Alone pays at: the change that this line alone needs to earn the price back.",
    )  # fmt: skip
