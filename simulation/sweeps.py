"""One knob of the policy at a time, and checkpoint intervals against Young's formula."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from brightrun.markets import best_interval
from brightrun.situation import Policy
from simulation.scenarios import simulate
from simulation.world import HOUR, SCENARIOS, Scenario, times

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
INTERRUPTED, DROUGHT = BY_NAME["interrupted_30"], BY_NAME["drought_30"]
FIRST_JOBS = replace(INTERRUPTED, name="interrupted_30, pace known to 15 %", sigma=0.15)
AT_ANY_PRICE = {"switch_premium": 99.0}
# (scenario, what is varied): the policy is otherwise its default.
KNOBS: tuple[tuple[Scenario, dict[str, Any]], ...] = (
    (INTERRUPTED, {}),
    (INTERRUPTED, {"switch_after": 3, **AT_ANY_PRICE}),
    (INTERRUPTED, {"switch_after": 5, **AT_ANY_PRICE}),
    (INTERRUPTED, {"last_resort": 6}),
    (INTERRUPTED, {"last_resort": 8}),
    (INTERRUPTED, {"last_resort": 99}),
    (INTERRUPTED, {"max_attempts": 6}),
    (INTERRUPTED, {"max_attempts": 9}),
    (INTERRUPTED, {"max_attempts": 12}),
    (INTERRUPTED, {"max_attempts": 30}),
    (INTERRUPTED, {"doubt": 1.0}),
    (INTERRUPTED, {"doubt": 0.01}),
    (INTERRUPTED, {"oom_retries": 0}),
    (FIRST_JOBS, {}),
    (DROUGHT, {}),
    (DROUGHT, {"capacity_hours": 6.0}),
    (DROUGHT, {"capacity_hours": 12.0}),
    (DROUGHT, {"capacity_hours": 48.0}),
    (DROUGHT, {"patience_hours": 0.25}),
    (DROUGHT, {"patience_hours": 2.0}),
    (DROUGHT, {"patience_hours": 24.0}),
)
INTERVALS_MIN = (2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0)


def policies(jobs: int) -> list[dict[str, Any]]:
    """A row per setting of a knob: {scenario, changed, success_rate, within_15pct, ...}."""
    rows = []
    for scenario, changed in KNOBS:
        found = simulate(scenario, jobs, Policy(**changed))
        rows.append(
            {
                "scenario": scenario.name,
                "changed": ", ".join(f"{k}={v:g}" for k, v in changed.items()) or "the defaults",
                "success_rate": found.success_rate,
                "within_15pct": found.within_15pct,
                "cost_over_likely": found.over_estimate,
                "switched": found.switched,
                "why_not": "; ".join(f"{n} x {why}" for why, n in found.failures()[:2]),
            }
        )
    return rows


def intervals(jobs: int) -> list[dict[str, Any]]:
    """Overhead of pod hours by minutes between checkpoints, and where Young says the least is."""
    save = float(times()["save"]["stall"]) / HOUR
    rows = []
    for rate in (0.1, 0.2, 0.3):
        scenario = replace(INTERRUPTED, name=f"{rate:g} an hour", spot_per_hour=rate)
        measured = {
            minutes: simulate(scenario, jobs, interval=minutes * 60).overhead
            for minutes in INTERVALS_MIN
        }
        rows.append(
            {
                "rate_per_hour": rate,
                "young_min": 60 * best_interval(save, rate),
                "overhead": measured,
                "best_min": min(measured, key=lambda minutes: measured[minutes]),
            }
        )
    return rows
