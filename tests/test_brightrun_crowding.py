"""What other processes on this machine do to the times of a job."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from cost_samples import BALANCED, CPU2, HERE, PCIE
from hypothesis import example, given
from hypothesis import strategies as st

from brightrun import crowding
from brightrun.costs import Estimate, estimate
from brightrun.crowding import PASSING, under_load
from brightrun.durations import Work
from brightrun.physics import SMOLLM2, Range

# Twelve long conversations through the demo model: 42 minutes on 2 cores that were never free; its
# first sample found 3 % of the reference, all of it laid to the machine.
EQ12 = Work(
    train_tokens=20_935, sum_squared_tokens=20_935 * 2_290, supervised_tokens=14_096, sequences=10,
    longest=2750, epochs=2, steps=20, validation_tokens=4393, evaluations=2, scenarios=12,
    questions=25, prompt_tokens=250, neutral_tokens=633, max_new_tokens=96, interruptions=1,
)  # fmt: skip
TOOK_S = 42 * 60
QUICK = BALANCED.model_copy(update={"max_new_tokens": 96})


def of_eq12(free: float) -> Estimate:
    return estimate(EQ12, replace(CPU2, free=free), SMOLLM2, QUICK, HERE)


def test_a_long_job_on_a_busy_machine_lies_in_its_range_and_near_the_likely_end() -> None:
    alone, busy = of_eq12(1.0), of_eq12(0.03)
    assert busy.hours.low * 3600 < TOOK_S < busy.hours.high * 3600
    assert 0.5 < busy.hours.likely * 3600 / TOOK_S < 1.5
    # They may go away at once; what is known of the machine itself does not change.
    assert busy.parts["training"].low == alone.parts["training"].low
    assert busy.basis == "physics"
    # Approval and limit follow the high end: 21 h and $13.16 when the load was the machine's speed.
    assert busy.hours.high < 21 / 2
    assert busy.hard_limit_usd == busy.cost_usd.high * Decimal("1.25")
    assert busy.hard_limit_usd < Decimal("13.16") / 2


def test_a_person_is_told_that_the_machine_is_busy() -> None:
    assert not [w for w in of_eq12(0.9).warnings if "busy" in w]
    (said,) = [w for w in of_eq12(0.4).warnings if "busy" in w]
    assert "other processes take 60%" in said


def test_a_short_job_meets_the_load_to_its_end_a_long_one_outlasts_it() -> None:
    short = under_load({"training": Range(50, 60, 70)}, 0.25)["training"]
    assert short == Range(50, 240, 240)
    hours = 10 * 3600.0
    long = under_load({"training": Range(hours, hours, 9 * hours)}, 0.25)["training"]
    assert long.likely == pytest.approx(hours + 0.75 * PASSING)
    assert long.high == 9 * hours  # more than the load would make of it


def test_the_load_of_this_machine_is_nothing_to_a_rented_gpu() -> None:
    gpu = replace(PCIE, free=0.1)
    found = (estimate(EQ12, m, SMOLLM2, QUICK, HERE) for m in (gpu, replace(gpu, free=1.0)))
    assert len({one.hours for one in found}) == 1


@example(seconds=[1.0, 1.5], free=(1.0, 0.3125))
@given(
    seconds=st.lists(st.floats(0, 1e6), min_size=1, max_size=6),
    free=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
)
def test_less_of_the_cores_never_makes_a_job_shorter(
    seconds: list[float], free: tuple[float, float]
) -> None:
    parts = {str(n): Range(one / 2, one, one * 3) for n, one in enumerate(seconds)}
    busy, calm = (under_load(parts, share) for share in sorted(free))
    for name, part in parts.items():
        assert busy[name].low == calm[name].low == part.low
        assert busy[name].likely >= calm[name].likely * (1 - 1e-9)
        assert busy[name].high >= calm[name].high >= part.high
    assert crowding.expected(100.0, 1.0) == 100.0
