"""How long a pod takes from being wanted to its first step, part by part. Pure.

Parts, each ending where the next begins: queue (tries that found no free machine), create (the
provider's answer to the create), boot (image and container, until the pod's first sign of life),
import (torch and the libraries), weights (the base model is fetched, where it was not on the
volume), load (data and base model), step (the first step itself). A provider does not tell the
image's pull from the container's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from brightrun.frozen import Frozen
from brightrun.happening import Happening
from brightrun.ledger_rows import AttemptRow
from brightrun.outcomes import Ending, ending

PARTS = ("queue", "create", "boot", "import", "weights", "load", "step")


class Start(Frozen):
    """One pod, in seconds by part; total_s is their sum, without the queue."""

    attempt: int
    parts: dict[str, float]

    @property
    def total_s(self) -> float:
        return round(sum(self.parts[name] for name in PARTS if name != "queue"), 3)


def starts(pods: Sequence[AttemptRow], events: Sequence[Happening]) -> tuple[Start, ...]:
    """Of every pod that came to a step. pods: all attempts of a job in order; events: the job's."""
    said: dict[int, list[Happening]] = {}
    for event in sorted(events, key=lambda event: event.ts):
        said.setdefault(event.attempt, []).append(event)
    found, wanted = [], None
    for pod in pods:
        wanted = wanted or pod.launched_at
        if ending(pod.outcome) is Ending.missed:
            continue
        start = start_of(pod, said.get(pod.number, []), said.get(0, []), wanted)
        found += [] if start is None else [start]
        wanted = None
    return tuple(found)


def start_of(
    pod: AttemptRow, mine: Sequence[Happening], ours: Sequence[Happening], wanted: datetime
) -> Start | None:
    """None: it made no step. ours: what the control plane said."""
    step = next((e for e in mine if e.type == "metric" and "loss" in e.payload), None)
    begun, training = stage(mine, "preprocessing"), stage(mine, "training")
    if step is None or begun is None or training is None:
        return None
    rented = next(
        (e for e in ours if "created_s" in e.payload and e.payload["attempt"] == pod.number), None
    )
    created = float(rented.payload["created_s"]) if rented is not None else 0.0
    weights = fetched(mine)
    parts = {
        "queue": between(wanted, pod.launched_at),
        "create": created,
        "boot": max(0.0, between(pod.launched_at, mine[0].ts) - created),
        "import": between(mine[0].ts, begun),
        "weights": weights,
        "load": max(0.0, between(begun, training) - weights),
        "step": between(training, step.ts),
    }
    return Start(attempt=pod.number, parts={name: round(s, 3) for name, s in parts.items()})


def fetched(events: Sequence[Happening]) -> float:
    """Seconds in which the base model came from elsewhere; they are within `preprocessing`."""
    details = [e.payload.get("detail") or {} for e in events if e.type == "stage"]
    return sum(float(detail.get("fetch_s") or 0.0) for detail in details)


def stage(events: Sequence[Happening], name: str) -> datetime | None:
    """When a stage began, if it did."""
    for event in events:
        said = event.payload
        if event.type == "stage" and said["name"] == name and said["status"] == "started":
            return event.ts
    return None


def between(since: datetime, until: datetime) -> float:
    """Seconds, never negative: a pod has a clock of its own."""
    return max(0.0, (until - since).total_seconds())
