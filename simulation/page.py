"""The tables of docs/simulation.md. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def tables(lines: Rows, policies: Rows, intervals: Rows) -> dict[str, str]:
    """Mark -> table in Markdown; what was not run has none."""
    found = {"scenarios": scenarios(lines)}
    if policies:
        found["policies"] = knobs(policies)
    if intervals:
        found["intervals"] = checkpoints(intervals)
    return found


def replaced(text: str, found: Mapping[str, str]) -> str:
    """The page with the tables between `<!-- name -->` and `<!-- /name -->` replaced."""
    for name, table in found.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not mark or not end:
            raise ValueError(f"the page has no marks of {name!r}")
        text = f"{before}{mark}{table}\n{end}{after}"
    return text


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = [columns, ["---"] * len(columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def scenarios(lines: Rows) -> str:
    columns = (
        "scenario", "jobs", "interruptions a job", "completed", "resume p50 / p95 min",
        "p95 with boots", "within 15 %", "cost / likely", "spot saves", "waited p95 h", "leaked",
    )  # fmt: skip
    rows = [
        [
            line["scenario"], f"{line['jobs']:,}", f"{line['interruptions']:.2f}",
            percent(line["success_rate"], 2),
            f"{line['p50_resume_min']:.1f} / {line['p95_resume_min']:.1f}",
            f"{line['p95_resume_with_boot_min']:.1f}", percent(line["within_15pct"]),
            f"{line['cost_over_likely']:.3f}", percent(line["spot_saves"], 0),
            f"{line['p95_waited_h']:.1f}", str(line["leaked_pods"]),
        ]
        for line in lines
    ]  # fmt: skip
    return table(columns, rows)


def knobs(policies: Rows) -> str:
    columns = ("scenario", "changed", "completed", "within 15 %", "cost / likely",
               "changed market", "why not")  # fmt: skip
    rows = [
        [
            row["scenario"], row["changed"], percent(row["success_rate"], 2),
            percent(row["within_15pct"]), f"{row['cost_over_likely']:.3f}",
            percent(row["switched"]), row["why_not"],
        ]
        for row in policies
    ]  # fmt: skip
    return table(columns, rows)


def checkpoints(intervals: Rows) -> str:
    minutes = sorted(intervals[0]["overhead"])
    columns = ["rate", *(f"{m:g} min" for m in minutes), "best here", "Young"]
    rows = [
        [
            percent(row["rate_per_hour"], 0),
            *(percent(row["overhead"][m], 2) for m in minutes),
            f"{row['best_min']:g} min",
            f"{row['young_min']:.1f} min",
        ]
        for row in intervals
    ]
    return table(columns, rows)


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
