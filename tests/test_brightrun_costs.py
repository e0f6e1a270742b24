"""Estimates: parts, hours, cost and limits, and the history that replaces the physics."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from cost_samples import BALANCED, CPU2, DEMAND, FULL, HERE, PCIE, SMALL, on_h100
from hypothesis import given
from hypothesis import strategies as st

from brightrun.costrange import CostRange, hard_limit
from brightrun.costs import LLAMA_3_70B, Observed, Range, estimate, units
from brightrun.durations import PARTS
from brightrun.jobs import Market
from brightrun.physics import SMOLLM2
from brightrun.prices import choose, offers
from brightrun.settings import Settings


def test_parts_sum_to_the_hours_and_hours_times_price_is_the_cost() -> None:
    found = on_h100()
    assert tuple(found.parts) == PARTS
    for bound in ("low", "likely", "high"):
        seconds = sum(getattr(part, bound) for part in found.parts.values())
        hours = getattr(found.hours, bound)
        assert hours == pytest.approx(seconds / 3600)
        usd = getattr(found.cost_usd, bound)
        assert float(usd) == pytest.approx(hours * 7.99, abs=1e-6)
        assert usd == usd.quantize(Decimal("0.000001"))
    assert found.turnaround_h > found.hours.likely
    assert found.basis == "physics"


def test_the_json_has_the_issues_shape() -> None:
    shape = on_h100().as_json()
    named = "tokens_per_epoch supervised_tokens steps hours cost_usd turnaround_h vram_gb fits"
    assert list(shape)[:10] == [*named.split(), "price", "warnings"]
    for key in ("hours", "cost_usd"):
        assert list(shape[key]) == ["low", "likely", "high"]
    assert list(shape["price"]) == ["usd_per_hour", "source", "as_of"]


def test_the_hard_limit_is_held_inside_the_budget() -> None:
    free = on_h100()
    assert free.hard_limit_usd == free.cost_usd.high * Decimal("1.25")
    assert on_h100(budget_left=Decimal(3)).hard_limit_usd == 3
    assert on_h100(budget_left=Decimal(-3)).hard_limit_usd == 0


def test_a_short_job_may_always_use_half_an_hour() -> None:
    """A demo on a busy laptop takes several times its estimate; that is no reason to stop it."""
    cheap = CostRange(Decimal(0), Decimal("0.03"), Decimal("0.05"))
    assert hard_limit(cheap, None, Decimal("0.50")) == Decimal("0.25")
    assert hard_limit(cheap, Decimal("0.1"), Decimal("0.50")) == Decimal("0.1")
    assert hard_limit(replace(cheap, high=Decimal(8)), None, Decimal(2)) == 10


def test_where_past_jobs_speak_the_limit_leaves_room_for_the_tenth_above_high() -> None:
    """By physics high is wide enough; learned, twice as far from likely as high, and a quarter."""
    assert hard_limit(CostRange(Decimal(1), Decimal(4), Decimal(8), Decimal(16)), None) == 20
    sizes = units(FULL, PCIE, LLAMA_3_70B, BALANCED)
    key = (PCIE.key, LLAMA_3_70B.name, BALANCED.precision)
    seen = [
        Observed(*key, part, sizes.get(part, 1.0), sizes.get(part, 300.0) * 1e-3 * off, f"j{n}")
        for n, off in enumerate((0.8, 1.0, 1.3, 1.0, 0.9))
        for part in ("boot", "model_loading", "preprocessing", "training", "measuring",
                     "finalization")
    ]  # fmt: skip
    found = on_h100(observed=seen)
    cost = found.cost_usd
    assert cost.tail is not None
    assert float(cost.tail / cost.likely) == pytest.approx(
        float(cost.high / cost.likely) ** 2, rel=0.1
    )
    assert found.hard_limit_usd == cost.tail * Decimal("1.25")
    again = CostRange.from_json(found.as_json())
    assert float(hard_limit(again, None)) == pytest.approx(float(found.hard_limit_usd), abs=1e-3)
    assert on_h100().cost_usd.tail == on_h100().cost_usd.high


def test_a_sequence_that_does_not_fit_is_told_with_its_mend() -> None:
    found = on_h100(replace(FULL, longest=20_000))
    assert not found.fits
    assert "does not fit" in found.warnings[0]
    assert "20,000 tokens" in found.warnings[0]
    assert on_h100().fits
    unknown = estimate(replace(SMALL, longest=10**6), CPU2, SMOLLM2, BALANCED, HERE)
    assert unknown.fits


def test_dear_and_slow_jobs_are_warned_of() -> None:
    warned = " ".join(on_h100(replace(FULL, train_tokens=40_000_000)).warnings)
    assert "above $100" in warned
    assert "above 24 h" in warned
    assert "above" not in " ".join(on_h100().warnings)


def test_the_users_hours_are_shown_when_ours_differ_with_the_reason() -> None:
    different = [w for w in on_h100(users_hours="12-15 h").warnings if "12-15 h" in w]
    assert "500,000 tokens x 3 epochs" in different[0]
    assert "12-15 h" not in " ".join(on_h100(users_hours="0.5-15 h").warnings)
    elsewhere = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE, users_hours="12-15 h")
    assert "Llama-3-70B on an H100" in elsewhere.warnings[0]


def test_planned_interruptions_and_spot_cost_time() -> None:
    calm = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE)
    killed = estimate(replace(SMALL, interruptions=1), CPU2, SMOLLM2, BALANCED, HERE)
    assert calm.parts["interruptions"] == Range(0, 0, 0)
    assert killed.parts["interruptions"].low > 0
    spot = replace(DEMAND, market=Market.spot)
    on_spot = estimate(FULL, PCIE, LLAMA_3_70B, BALANCED, spot)
    assert on_spot.parts["interruptions"].likely > on_h100().parts["interruptions"].likely


@given(
    tokens=st.tuples(st.integers(1, 10**8), st.integers(1, 10**8)),
    epochs=st.integers(1, 20),
    gpu=st.booleans(),
)
def test_more_tokens_never_cost_less(tokens: tuple[int, int], epochs: int, gpu: bool) -> None:
    machine, model, price = (PCIE, LLAMA_3_70B, DEMAND) if gpu else (CPU2, SMOLLM2, HERE)
    few, many = (
        estimate(
            replace(FULL, train_tokens=n, sum_squared_tokens=n * 1000, epochs=epochs),
            machine,
            model,
            BALANCED,
            price,
        )
        for n in sorted(tokens)
    )
    for bound in ("low", "likely", "high"):
        assert getattr(few.cost_usd, bound) <= getattr(many.cost_usd, bound)


def seen(part: str, rate: float, machine: str = "cpu/2", precision: str = "nf4") -> Observed:
    size = units(SMALL, CPU2, SMOLLM2, BALANCED)[part]
    return Observed(machine, SMOLLM2.name, precision, part, size, size * rate)


def test_history_of_the_same_machine_replaces_the_guess_and_narrows_it() -> None:
    guess = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE)
    past = [seen("training", rate) for rate in (0.9, 1.0, 1.3)]
    known = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE, past)
    size = units(SMALL, CPU2, SMOLLM2, BALANCED)["training"]
    assert known.parts["training"].likely == pytest.approx(size)
    assert known.basis == "history n=3"
    assert known.parts["measuring"] == guess.parts["measuring"]
    assert known.parts["training"].high / known.parts["training"].likely == pytest.approx(2.5)


def test_saves_are_counted_once_where_training_was_learned_with_them() -> None:
    guess = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE)
    assert guess.parts["saving"].likely > 0
    known = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE, [seen("training", 1.0)])
    assert known.parts["saving"].high == 0
    other = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE, [seen("measuring", 1.0)])
    assert other.parts["saving"].likely == guess.parts["saving"].likely


def test_history_of_another_machine_or_precision_says_nothing() -> None:
    guess = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE)
    others = [seen("training", 9.0, machine="cpu/8"), seen("training", 9.0, precision="bf16")]
    assert estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE, others) == guess


def test_a_part_that_does_not_grow_is_taken_in_seconds() -> None:
    past = [Observed("cpu/2", SMOLLM2.name, "nf4", "model_loading", 0, 20.0)]
    known = estimate(SMALL, CPU2, SMOLLM2, BALANCED, HERE, past)
    assert known.parts["model_loading"].likely == 20
    assert known.basis == "physics"


def test_a_measured_job_predicts_one_of_another_mix() -> None:
    """Twice the answers cost twice the written share, whatever the questions were."""
    more = replace(SMALL, scenarios=100)
    few, many = (units(work, CPU2, SMOLLM2, BALANCED)["measuring"] for work in (SMALL, more))
    assert few < many < 2 * few


def test_the_way_to_the_first_step_is_in_the_estimate_warm_and_cold() -> None:
    found = on_h100()
    first = found.as_json()["first_step_s"]
    parts = [found.parts[name] for name in ("boot", "preprocessing", "model_loading")]
    assert first["warm"] == pytest.approx(sum(part.likely for part in parts), abs=0.1)
    assert first["cold"] == pytest.approx(sum(part.high for part in parts), abs=0.1)
    assert 60 < first["warm"] < first["cold"]


def test_the_reason_for_other_hours_than_planned_names_parts_that_add_up() -> None:
    found = on_h100(users_hours="100-200 h")
    (said,) = [w for w in found.warnings if "were planned" in w]
    assert "e+" not in said
    for part in ("training", "model loading", "measuring", "boot"):
        assert re.search(rf"{part} [\d.]+ (min|h)", said), part
    times = re.findall(r"([\d.]+) (min|h)\b(?! are)", said.partition("expected: ")[2])
    many = on_h100(replace(FULL, train_tokens=100 * FULL.train_tokens), users_hours="1-2 h")
    (long,) = [w for w in many.warnings if "were planned" in w]
    assert re.search(r"planned, [\d,]+ h are", long), long
    hours = sum(float(n) / (60 if unit == "min" else 1) for n, unit in times)
    assert hours == pytest.approx(found.hours.likely, rel=0.05)


@pytest.mark.parametrize(
    "observed",
    [(), (Observed(CPU2.key, "SmolLM2-135M-Instruct", "bf16", "measuring", 1e6, 900.0),)],
)
def test_a_known_baseline_saves_half_of_the_measuring_but_not_at_the_high_end(
    observed: tuple[Observed, ...],
) -> None:
    values = BALANCED.model_copy(update={"precision": "bf16"})
    price = choose(offers("local", "", Settings()), "on_demand")[0]
    half = replace(SMALL, known=frozenset({"likelihood", "neutral", "knowledge", "answers"}))
    full, saved = (
        estimate(work, CPU2, SMOLLM2, values, price, observed).parts["measuring"]
        for work in (SMALL, half)
    )
    assert saved.likely == pytest.approx(full.likely / 2)
    assert saved.low == pytest.approx(full.low / 2)
    assert saved.high == full.high
