"""What a running pod has learned about its own speed, and the estimate that follows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from brightrun.costrange import CostRange
from brightrun.frozen import Frozen
from brightrun.happening import Happening
from brightrun.physics import Range, exactly, total
from brightrun.prices import CPU

Fact = TypeVar("Fact")
# What the pod measures against its forecast counts from the first step on, but gently: as if a
# tenth of the forecast had already come true.
TRUST = 0.1


class Calibration(Frozen):
    """A pod's forecast, made after optimizer step `step` from `steps` micro-steps.

    tokens (without padding) and low, likely, high (seconds) are of the training that was left
    then; share: those tokens over all that the job trains on (0-1).
    """

    attempt: int
    at: datetime
    step: int
    steps: int
    tokens: int
    share: float
    low: float
    likely: float
    high: float


def calibration_of(events: Iterable[Happening]) -> Calibration | None:
    """The newest pod's forecast, None before there is one.

    An older trainer's, which did not say the share of the training that it covers, is none.
    """
    found = None
    for event in events:
        said = event.payload
        if event.type != "progress" or said.get("what") != "calibrated" or "share" not in said:
            continue
        numbers = {key: said[key] for key in ("step", "steps", "tokens", "share")}
        found = Calibration(
            attempt=event.attempt, at=event.ts, **numbers, **said["training_s"]
        )  # fmt: skip
    return found


def training_left(known: Calibration, events: Iterable[Happening]) -> float:
    """Likely seconds of training that are left: the forecast by tokens, and the pace since."""
    taken: dict[int, dict[int, float]] = {}
    last = known.at
    for event in events:
        said = event.payload
        if event.type != "metric" or "loss" not in said:
            continue
        taken.setdefault(event.attempt, {})[int(said["step"])] = float(said.get("tokens", 0.0))
        if event.attempt == known.attempt and said["step"] > known.step:
            last = max(last, event.ts)
    mine = _tokens_after(known.step, taken.get(known.attempt, {}))
    done = _tokens_after(known.step, newest(taken))
    whole = max(1, known.tokens)
    expected, took = known.likely * mine / whole, (last - known.at).total_seconds()
    pace = (took + TRUST * known.likely) / max(1e-9, expected + TRUST * known.likely)
    return known.likely * max(0.0, 1 - done / whole) * pace


def newest(taken: Mapping[int, Mapping[int, Fact]]) -> dict[int, Fact]:
    """A fact by step, of the steps that stand: where an attempt begins, what earlier ones did from
    there on is lost. taken: the same of every attempt."""
    standing: dict[int, Fact] = {}
    for attempt in sorted(taken):
        first = min(taken[attempt])
        kept = {step: fact for step, fact in standing.items() if step < first}
        standing = {**kept, **taken[attempt]}
    return standing


def _tokens_after(step: int, tokens: Mapping[int, float]) -> float:
    return sum(count for number, count in tokens.items() if number > step)


def training_seconds(known: Calibration) -> float:
    """Likely seconds of a whole, undisturbed training at this speed."""
    return known.likely / known.share


def pace(facts: Mapping[str, Any], known: Calibration) -> float:
    """How many times longer than estimated everything takes, judged by the training.

    On a CPU all parts wait for the same cores; on a GPU reading and writing answers are bound by
    other things than training, and their estimates stand.
    """
    guessed = float(facts["parts"]["training"]["likely"])
    if facts["gpu"] != CPU or guessed <= 0:
        return 1.0
    return training_seconds(known) / guessed


def revised(
    facts: Mapping[str, Any],
    known: Calibration,
    training_s: float,
    left: Mapping[str, float],
    pod_s: float,
    spent_usd: Decimal,
) -> dict[str, Any]:
    """Hours and cost of the job: what its pods took by now, lost ones included, and what is left.

    facts: the estimate's JSON; training_s: likely seconds of training that are left; left: share
    of every stage that is still to do (0-1). {steps, hours, cost_usd}.
    """
    wide = Range(known.low, known.likely, known.high).times(1 / max(1e-9, known.likely))
    parts, slower = [wide.times(training_s)], pace(facts, known)
    for name, part in facts["parts"].items():
        if name in ("boot", "training"):
            continue  # the pod runs already; another one is among the interruptions
        share = left.get(name, left["training"]) * slower
        parts.append(Range(part["low"], part["likely"], part["high"]).times(share))
    rest = total(parts).times(1 / 3600)
    cost = CostRange.of(rest, Decimal(str(facts["price"]["usd_per_hour"])))
    spent = {name: round(float(spent_usd) + usd, 4) for name, usd in cost.as_json().items()}
    hours = exactly(pod_s / 3600) + rest
    return {"steps": known.steps, "hours": hours.as_json(), "cost_usd": spent}
