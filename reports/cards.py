"""Markdown for Prefect artifacts: pure functions, value -> text. Everything given is escaped.

Prefect renders a Markdown image with a data-URI SVG; raw <svg> it does not.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence

from brightrun.verdicts import CurvePoint, ReportData, Table, Verdict
from reports import claims, formats, sparkline, summary
from reports.escape import clean
from reports.metricwords import words_of
from reports.tables import GENERAL, Layout, printed

_SPECIAL = "\\`*_{}[]<>|#!~$&"


def text(value: object) -> str:
    """One line for GitHub-flavoured Markdown: no markup, HTML, link or table break."""
    line = " ".join(clean(str(value)).split())
    safe = "".join(f"&#{ord(c)};" if c in "<>&" else f"\\{c}" if c in _SPECIAL else c for c in line)
    # A bare address would become a link.
    return safe.replace("://", ":&#47;/").replace("www.", "www&#46;")


def table(data: Table, layout: Layout = GENERAL) -> str:
    """A table, numbers right, with its caption above."""
    shown = printed(data, layout)
    if not shown.rows:
        return "Nothing to list.\n"
    caption = f"{text(shown.caption)}\n\n" if shown.caption else ""
    return caption + rows_table(shown.columns, shown.rows, shown.right)


def rows_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """Markdown table of raw texts."""
    marks = " | ".join("---:" if i in right else "---" for i in range(len(columns)))
    return "\n".join([_row(columns), f"| {marks} |", *(_row(row) for row in rows)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(text(cell) for cell in cells)} |"


def verdicts(found: Sequence[Verdict], *, meaningless: str = "") -> str:
    """Headline, EI claim, a narrow table of verdicts, and below it what each one rests on.

    meaningless: the kind of test that the numbers come from ("Test model"), "" where they count.
    Prefect never breaks a table's cells into lines: what does not fit beside its side bar is cut.
    """
    head = ("Metric", "Verdict", "Result")
    rows = [(words_of(v).label, verdict_cell(v), result(v)) for v in found]
    warning = f"**{meaningless}: the numbers mean nothing.**\n\n" if meaningless else ""
    said = f"**{text(claims.headline(found))}** {text(claims.ei_claim(found))}."
    rest = "".join(f"- {text(basis(verdict))}\n" for verdict in found)
    return f"## Verdicts\n\n{warning}{said}\n\n{rows_table(head, rows)}\n{rest}"


def verdict_cell(verdict: Verdict) -> str:
    """`Target met (95% or more)`."""
    goal = claims.target(verdict)
    return claims.status(verdict) + (f" ({goal})" if goal != formats.NONE else "")


def result(verdict: Verdict) -> str:
    """The estimate and its interval."""
    if not claims.measured(verdict):
        return formats.NONE
    spread = claims.estimate_interval(verdict)
    return claims.estimate(verdict) + (f" ({spread})" if spread != formats.NONE else "")


def basis(verdict: Verdict) -> str:
    """The levels, how they were found, and on how much."""
    label = words_of(verdict).label
    if not claims.taken(verdict):
        return f"{label}: no evidence"
    named = zip(("baseline", "trained", "gold"), claims.levels(verdict), strict=True)
    parts = [f"{name} {level}" for name, level in named if level != formats.NONE]
    parts.append(claims.evidence(verdict))
    return f"{label}: {', '.join(parts)}, {claims.sample(verdict)}"


def loss_curve(curve: Sequence[CurvePoint]) -> str:
    """The loss curve as an image with its words; a sentence while there are too few steps."""
    losses = [(point.step, point.loss) for point in curve]
    checks = [(p.step, p.validation_loss) for p in curve if p.validation_loss is not None]
    if len(losses) < 2:
        return "## Loss\n\nThe loss curve appears after two steps.\n"
    words = sparkline.alt(losses)
    return f"## Loss\n\n{image(sparkline.svg(losses, checks), words)}\n\n{text(words)}\n"


def image(svg: str, alt: str) -> str:
    """A Markdown image with the SVG inside."""
    encoded = base64.b64encode(svg.encode()).decode()
    return f"![{text(alt)}](data:image/svg+xml;base64,{encoded})"


def dataset(facts: Table) -> str:
    return f"## Training data\n\n{table(facts)}"


def estimate(options: Table, *, warnings: Sequence[str] = (), note: str = "") -> str:
    """Estimates side by side (a row per preset and market), the warnings above, a note below."""
    warned = "".join(f"- **Warning:** {text(warning)}\n" for warning in warnings)
    head = f"## Estimate\n\n{warned}\n" if warned else "## Estimate\n\n"
    return head + table(options) + (f"\n{text(note)}\n" if note else "")


def report_link(data: ReportData, url: str) -> str:
    """The finished job in a few lines, with the link to its report."""
    safe = url.replace("(", "%28").replace(")", "%29").replace(" ", "%20").replace("<", "%3C")
    stops = f"{text(summary.interrupted(data))}." if data.interruptions else "Not interrupted."
    return (
        f"## {text(data.name or data.job_id)}\n\n"
        f"[Open the validation report]({safe})\n\n"
        f"{text(claims.headline(data.evaluation.verdicts))} "
        f"{text(claims.ei_claim(data.evaluation.verdicts))}.\n\n"
        f"{stops} Cost {text(formats.usd(data.cost_usd))} in "
        f"{formats.duration(data.hours * 3600)}.\n"
    )
