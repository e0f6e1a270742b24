"""What a running pod has learned about its own speed, and the estimate that follows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from brightrun.costs import CostRange
from brightrun.durations import Work
from brightrun.physics import Range, exactly, total

# What the pod measures against its forecast counts from the first step on, but gently: as if a
# tenth of the forecast had already come true.
TRUST = 0.1
# Forward pass alone, of forward and backward (as in trainer.calibrate).
FORWARD = 0.48


class Sign(Protocol):
    """What is needed of an event."""

    @property
    def ts(self) -> datetime: ...
    @property
    def attempt(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def payload(self) -> dict[str, Any]: ...


class Calibration(BaseModel):
    """A pod's forecast: seconds of a micro-step = a + b x tokens + c x sum of squared lengths.

    Made after optimizer step `step` from `steps` micro-steps; tokens and low, likely, high
    (seconds) are of the training that was left then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    attempt: int
    at: datetime
    step: int
    steps: int
    tokens: int
    a: float
    b: float
    c: float
    low: float
    likely: float
    high: float


def calibration_of(events: Iterable[Sign]) -> Calibration | None:
    """The newest pod's forecast, None before there is one."""
    found = None
    for event in events:
        said = event.payload
        if event.type != "progress" or said.get("what") != "calibrated":
            continue
        numbers = {key: said[key] for key in ("step", "steps", "tokens", "a", "b", "c")}
        found = Calibration(
            attempt=event.attempt, at=event.ts, **numbers, **said["training_s"]
        )  # fmt: skip
    return found


def training_left(known: Calibration, events: Iterable[Sign]) -> float:
    """Likely seconds of training that are left: the forecast by tokens, and the pace since."""
    tokens: dict[int, float] = {}
    mine, last = 0.0, known.at
    for event in events:
        said = event.payload
        if event.type != "metric" or "loss" not in said or said["step"] <= known.step:
            continue
        tokens[int(said["step"])] = float(said.get("tokens", 0.0))
        if event.attempt == known.attempt:
            mine, last = sum(tokens.values()), max(last, event.ts)
    whole = max(1, known.tokens)
    expected, took = known.likely * mine / whole, (last - known.at).total_seconds()
    pace = (took + TRUST * known.likely) / max(1e-9, expected + TRUST * known.likely)
    return known.likely * max(0.0, 1 - sum(tokens.values()) / whole) * pace


def training_seconds(known: Calibration, work: Work) -> float:
    """Likely seconds of a whole, undisturbed training of this work at this speed."""
    checked = FORWARD * known.b * work.validation_tokens * work.evaluations
    return (
        known.a * work.micro_steps
        + known.b * work.train_tokens * work.epochs
        + known.c * work.sum_squared_tokens * work.epochs
        + checked
    )


def revised(
    facts: Mapping[str, Any], known: Calibration, trained_s: float, took: Mapping[str, float]
) -> dict[str, Any]:
    """The estimate's hours and cost with what is known by now.

    facts: the estimate's JSON; trained_s: seconds of training up to the calibration, lost pods
    included; took: seconds of the pod's finished stages. {steps, training_s, hours, cost_usd}.
    """
    training = exactly(trained_s) + Range(known.low, known.likely, known.high)
    if "training" in took:
        training = exactly(took["training"])
    parts = [training]
    for name, part in facts["parts"].items():
        if name in took and name != "training":
            parts.append(exactly(took[name]))
        elif name != "training":
            parts.append(Range(part["low"], part["likely"], part["high"]))
    hours = total(parts).times(1 / 3600)
    price = Decimal(str(facts["price"]["usd_per_hour"]))
    return {
        "steps": known.steps,
        "training_s": training.as_json(1),
        "hours": hours.as_json(),
        "cost_usd": CostRange.of(hours, price).as_json(),
    }
