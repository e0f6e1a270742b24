"""Every optimizer step of a job as rows, and rows as CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from brightrun.context import JobContext
from brightrun.spreadsheets import harmless

Row = dict[str, Any]
FORMATS = ("csv", "json", "parquet")
FILE = "metrics.csv"
METRICS = (
    "step", "epoch", "attempt", "at", "loss", "validation_loss", "perplexity", "learning_rate",
    "grad_norm", "tokens", "supervised_tokens", "seconds", "tokens_per_s", "memory_mb", "cost_usd",
    "notes",
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


def attachment(job: JobContext) -> dict[str, bytes]:
    """metrics.csv as a report carries it; nothing when no step was recorded."""
    rows = metrics(job)
    return {FILE: encoded(rows, METRICS, "csv")} if rows else {}
