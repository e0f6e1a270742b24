"""What the pod has measured of lm-eval's tasks: read, and checked against the plan."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field, FiniteFloat

from brightrun.errors import EvaluationError
from brightrun.runfolder import RunFolder
from evals import measurements
from evals.harness import HarnessItem
from evals.measurements import Measured, Measurements
from evals.plan import HARNESS

CHOICES = "measurements/harness.jsonl"


class Choices(Measured):
    """Nats of each choice of an item after its context."""

    item_id: str
    logprobs: tuple[FiniteFloat, ...] = Field(min_length=2)


def added(found: Measurements, folder: RunFolder, items: tuple[HarnessItem, ...]) -> Measurements:
    """With the choices of all models; EvaluationError when some are missing or were not planned."""
    if not items:
        return found
    asked = {row["item_id"]: row["requests"] for row in folder.read_jsonl(HARNESS)}
    if asked != {item.item_id: [list(pair) for pair in item.requests] for item in items}:
        raise EvaluationError(
            "the lm-eval tasks' items are not those that were planned",
            cause=f"sources/ or {HARNESS} of the run folder was changed",
            fix="restore it, or start a new job",
        )
    rows = {
        (row.model, row.item_id): row.logprobs
        for row in measurements.measured_rows(folder, CHOICES, Choices, ("model", "item_id"))
    }
    wanted = {(model, item.item_id): len(item.requests) for model in found.models for item in items}
    whole = {key: logs for key, logs in rows.items() if len(logs) == wanted.get(key)}
    measurements.complete(CHOICES, set(wanted), whole)
    return replace(found, harness_items=items, harness=whole)
