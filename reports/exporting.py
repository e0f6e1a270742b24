"""Metrics and examples of a job as CSV, JSON or Parquet: one row a step or an answer."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brightrun.context import JobContext
from brightrun.errors import ReportError
from brightrun.spreadsheets import harmless
from reports import charts, collect, issuing, paper

Row = dict[str, Any]
FORMATS = ("csv", "json", "parquet")
METRICS = (
    "step", "epoch", "attempt", "at", "loss", "validation_loss", "perplexity", "learning_rate",
    "grad_norm", "tokens", "supervised_tokens", "seconds", "tokens_per_s", "memory_mb", "cost_usd",
    "notes",
)  # fmt: skip
EXAMPLES = (
    "scenario_id", "arc", "persona", "why", "client_message", "baseline", "trained", "notes",
)  # fmt: skip


def metrics(job: JobContext) -> list[Row]:
    """Every optimizer step: perplexity is e to the validation loss, cost the step's pod time."""
    prices = {pod.number: float(pod.usd_per_hour) for pod in job.ledger.attempts(job.job_id)}
    events = job.ledger.events(job.job_id, type="warning")
    said: dict[tuple[int, int], list[str]] = {}
    for event in events:
        if isinstance(step := event.payload.get("step"), int):
            text = str(event.payload.get("message", ""))
            said.setdefault((event.attempt, step), []).append(text)
    rows = []
    for m in job.ledger.metrics(job.job_id):
        price, held = prices.get(m.attempt), m.validation_loss
        spent = None if m.seconds is None or price is None else m.seconds * price / 3600
        rows.append(
            {
                **{name: getattr(m, name) for name in METRICS if hasattr(m, name)},
                "at": m.ts.isoformat(),
                "perplexity": None if held is None else math.exp(min(held, 700)),
                "cost_usd": spent,
                "notes": "; ".join(said.get((m.attempt, m.step), [])),
            }
        )
    return [{name: row[name] for name in METRICS} for row in rows]


def examples(job: JobContext) -> list[Row]:
    """The examples of the report with both answers in full."""
    found = issuing.evaluation_of(job).examples
    return [
        {**{name: getattr(e, name) for name in EXAMPLES}, "notes": "; ".join(e.notes)}
        for e in found
    ]


def encoded(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: str) -> bytes:
    """The rows in one of FORMATS; in CSV nothing can be taken for a formula."""
    if form == "json":
        return (json.dumps(list(rows), ensure_ascii=False, indent=1) + "\n").encode()
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({name: [row[name] for row in rows] for name in columns})
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return sink.getvalue()
    buffer = io.StringIO()
    sheet = csv.writer(buffer)
    sheet.writerow(columns)
    sheet.writerows([harmless(row[name]) for name in columns] for row in rows)
    return buffer.getvalue().encode("utf-8-sig")


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
