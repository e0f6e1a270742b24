"""Metrics and examples of a job as CSV, JSON or Parquet: one row a step or an answer."""

from __future__ import annotations

from pathlib import Path

from brightrun.context import JobContext
from brightrun.errors import ReportError
from reports import charts, collect, issuing, paper
from reports.stephistory import METRICS, Row, encoded, metrics

EXAMPLES = (
    "scenario_id", "arc", "persona", "why", "client_message", "baseline", "trained", "notes",
)  # fmt: skip


def examples(job: JobContext) -> list[Row]:
    """The examples of the report with both answers in full."""
    found = issuing.evaluation_of(job).examples
    return [
        {**{name: getattr(e, name) for name in EXAMPLES}, "notes": "; ".join(e.notes)}
        for e in found
    ]


def write(job: JobContext, what: str, form: str, out: Path | None, plot: bool) -> list[Path]:
    """The file, and the loss curve as SVG when asked; ReportError when there is nothing yet."""
    rows, columns = (metrics(job), METRICS) if what == "metrics" else (examples(job), EXAMPLES)
    if not rows:
        raise ReportError(
            f"job {job.job_id} has no {what} yet", fix="let it train and measure first"
        )
    target = out or job.reports_folder / "exports" / f"{job.job_id}-{what}.{form}"
    target.parent.mkdir(parents=True, exist_ok=True)
    paper.write(target, encoded(rows, columns, form))
    made = [target]
    drawn = charts.loss_curve(collect.curve(job), ()) if plot else None
    if drawn is not None:
        picture = target.with_suffix(".svg")
        paper.write(picture, drawn.svg.encode("utf-8"))
        made.append(picture)
    return made
