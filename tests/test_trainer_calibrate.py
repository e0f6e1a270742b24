"""The forecast from the first micro-steps."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer_jobs import SMALL, lay_out, payloads, run_pod, tiny_models, without_golden

from trainer import batches, forecast
from trainer.batches import Cut
from trainer.calibrate import Calibration, Line, Remaining, Size, fit, wanted
from trainer.data import Sample
from trainer.memory import Fit

A, B, C = 0.4, 1.1e-3, 6e-8


def truth(size: Size) -> float:
    return A + B * size.tokens + C * size.squares


def measured(lengths: list[int], noise: float = 0.0, seed: int = 1) -> Line:
    draw = random.Random(seed)
    sizes = [Size.of([n]) for n in lengths]
    return fit(sizes, [truth(size) * draw.gauss(1, noise) for size in sizes])


def relative(found: float, expected: float) -> float:
    return abs(found / expected - 1)


LENGTHS = [310, 4100, 900, 2500, 1700, 3300, 640, 5200, 1300]
UNSEEN = [Size.of([n]) for n in (450, 800, 1500, 2100, 2900, 3900, 4700, 5600)]


def test_exact_times_give_the_coefficients_back() -> None:
    found = measured(LENGTHS)
    assert relative(found.b, B) < 0.02
    assert all(relative(found.seconds(size), truth(size)) < 0.01 for size in UNSEEN)


@pytest.mark.parametrize("seed", range(8))
def test_with_noise_the_total_is_met_and_lies_within_the_range(seed: int) -> None:
    found = measured(LENGTHS, noise=0.04, seed=seed)
    expected = sum(truth(size) for size in UNSEEN)
    forecast = found.forecast(UNSEEN, "cuda")
    assert relative(forecast.likely, expected) < 0.05
    assert forecast.low < expected < forecast.high
    assert 0.005 < found.spread < 0.09


def test_more_noise_makes_the_range_wider() -> None:
    calm, wild = (measured(LENGTHS, noise).forecast(UNSEEN, "cuda") for noise in (0.01, 0.2))
    assert (wild.high - wild.low) / wild.likely > 2 * (calm.high - calm.low) / calm.likely


def test_a_cpu_promises_less_than_its_calm_measurements_say() -> None:
    calm = measured([1000] * 9)
    cpu, gpu = (calm.forecast([Size.of([1000])] * 50, device) for device in ("cpu", "cuda"))
    assert cpu.likely == gpu.likely
    assert cpu.high > 1.16 * cpu.likely > gpu.high


def test_equal_lengths_still_forecast_their_own_kind_exactly() -> None:
    found = measured([1000] * 9)
    same, longer = Size.of([1000]), Size.of([4000])
    assert relative(found.seconds(same), truth(same)) < 0.001
    wide, narrow = (found.forecast([size] * 5, "cuda") for size in (longer, same))
    assert wide.low < 5 * truth(longer) < wide.high
    assert (wide.high - wide.low) / wide.likely > 5 * (narrow.high - narrow.low) / narrow.likely


@given(
    st.lists(st.tuples(st.integers(1, 9000), st.floats(0.01, 100.0)), min_size=3, max_size=12),
    st.integers(1, 8000),
)  # fmt: skip
def test_a_longer_sequence_never_takes_less_whatever_was_measured(
    steps: list[tuple[int, float]], tokens: int
) -> None:
    found = fit([Size.of([n]) for n, _ in steps], [s for _, s in steps])
    assert min(found.a, found.b, found.c) >= 0
    assert found.seconds(Size.of([tokens + 50])) >= found.seconds(Size.of([tokens])) > 0
    forecast = found.forecast([Size.of([tokens])] * 3, "cuda")
    assert 0 <= forecast.low <= forecast.likely <= forecast.high


def test_a_fit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs micro-steps"):
        fit([], [])


@pytest.mark.parametrize(("micro_steps", "number"), [(4, 3), (14, 4), (28, 9), (5000, 9)])
def test_a_short_job_is_measured_for_a_third_of_its_length(micro_steps: int, number: int) -> None:
    assert wanted(micro_steps) == number


class Pod:
    """Runs steps of exactly known length: a slow first micro-step, 2 s after every step. After the
    step `oom` it goes on with single sequences instead of pairs."""

    def __init__(self, lengths: list[list[int]], *, oom: int | None = None, **more: Any) -> None:
        self.now, self.left = 0.0, 0.0
        self.told: list[dict[str, Any]] = []
        self.lengths, self.more = lengths, more
        kept = more.get("recomputed_above")
        how = Fit(Cut(1 if oom is None else 2), kept)
        calibration = Calibration(self.forecast, 0, how, self.told.append, "cuda", lambda: self.now)
        slow = 5.0
        for number, step in enumerate(lengths):
            how = Fit(Cut(1), kept) if number == oom else how
            ended = []
            for size in forecast.micro_steps(step, how.cut):
                seconds = truth(self.forecast(0, how).work(size)) * slow
                self.now, slow = self.now + seconds, 1.0
                self.left += seconds if self.told else 0
                ended.append((size, seconds))
            self.left += 2 if self.told else 0
            calibration.on_step(ended, how)
            self.now += 2

    def forecast(self, step: int, how: Fit) -> Remaining:
        sizes = [forecast.micro_steps(one, how.cut) for one in self.lengths[step:]]
        tokens = [sum(one) for one in self.lengths]
        return Remaining(sizes, tokens[step:], sum(tokens), **self.more)


@pytest.mark.parametrize("limit", [None, 2000])
def test_the_forecast_counts_exactly_what_is_left_and_the_time_between_steps(
    limit: int | None,
) -> None:
    draw = random.Random(3)
    lengths = [[draw.randint(300, 5000) for _ in range(4)] for _ in range(12)]
    pod = Pod(lengths, recomputed_above=limit)
    (told,) = pod.told
    assert told["what"] == "calibrated"
    assert told["steps"] == 11
    assert told["tokens"] == sum(map(sum, lengths[3:]))
    assert told["share"] == pytest.approx(told["tokens"] / sum(map(sum, lengths)), abs=1e-6)
    assert relative(told["training_s"]["likely"], pod.left) < 0.02
    assert told["training_s"]["low"] < pod.left < told["training_s"]["high"]


def test_validation_that_is_still_to_come_is_counted() -> None:
    steps = [[900, 1800, 700], [2500, 1200]] * 6
    held_out = [Size.of([n]) for n in (1500, 2500)]
    without = Pod(steps).told[0]
    once = Pod(steps, validations=[1, 12], validated=held_out).told[0]
    more = once["training_s"]["likely"] - without["training_s"]["likely"]
    whole = truth(Size.of([1500])) + truth(Size.of([2500]))
    assert 0.3 * whole < more < 0.6 * whole


def test_after_an_out_of_memory_the_rest_is_forecast_as_it_is_computed_now() -> None:
    draw = random.Random(5)
    lengths = [[draw.randint(300, 900) for _ in range(4)] for _ in range(16)]
    pod = Pod(lengths, oom=2)
    (told,) = pod.told
    assert relative(told["training_s"]["likely"], pod.left) < 0.03
    assert told["tokens"] == sum(map(sum, lengths[told["step"] :]))


@pytest.mark.parametrize("together", [False, True])
def test_one_of_two_processes_forecasts_the_time_of_both(*, together: bool) -> None:
    """Apart they wait for each other once a step, layer by layer after every micro-step."""
    from trainer.distributed import rounds, shares

    draw = random.Random(9)
    samples = [
        Sample(str(n), "", "", (1,) * n, (1,) * n, (True,) * n)
        for n in (draw.randint(300, 5000) for _ in range(60))
    ]
    plan = [list(range(at, at + 5)) for at in range(0, 60, 5)]
    divide = rounds if together else shares
    told: list[dict[str, Any]] = []
    now = left = 0.0

    def remaining(step: int, how: Fit) -> Remaining:
        mine = lambda costs: divide(costs, 2)[0]  # noqa: E731
        return forecast.remaining(plan, samples, [], how.cut, step, (), None, mine)

    fit = Fit(Cut(1), None)
    calibration = Calibration(remaining, 0, fit, told.append, "cuda", lambda: now)
    for step in plan:
        sizes = forecast.micro_steps([len(samples[at].ids) for at in step], Cut(1))
        turns = divide([size.tokens for size in sizes], 2)
        times = [[0.0 if at is None else truth(sizes[at]) for at in mine] for mine in turns]
        took = sum(map(max, zip(*times, strict=True))) if together else max(map(sum, times))
        own = [at for at in turns[0] if at is not None]
        now += took + 2
        left += took + 2 if told else 0.0
        calibration.on_step([(sizes[at], truth(sizes[at])) for at in own], fit)
    (found,) = told
    # How long one waits for the other is known from the first steps only.
    assert relative(found["training_s"]["likely"], left) < 0.08
    assert found["training_s"]["low"] < left < found["training_s"]["high"]
    assert found["tokens"] == sum(len(samples[at].ids) for step in plan[found["step"] :]
                                  for at in step)  # fmt: skip


def test_a_job_that_is_over_before_there_is_enough_says_nothing() -> None:
    assert Pod([[500], [700]]).told == []


@pytest.mark.parametrize("cut", [Cut(1), Cut(3), Cut(1, 900), Cut(2, 600)])
def test_planned_micro_steps_are_those_that_are_run(cut: Cut) -> None:
    lengths = [310, 120, 590, 40, 300, 210, 580]
    samples = [
        Sample(str(n), "", "", (1,) * n, (1,) * n, (True,) * n) for n in lengths
    ]  # fmt: skip
    made = [Size(batch.tokens, batch.squares) for batch in batches.cut(samples, cut)]
    assert forecast.micro_steps(lengths, cut) == made


def test_the_forecast_counts_tokens_without_their_padding() -> None:
    samples = [Sample(str(n), "", "", (1,) * n, (1,) * n, (True,) * n) for n in (500, 450, 80)]
    plan = [[0, 1, 2], [2, 1], [1, 0]]
    left = forecast.remaining(plan, samples, samples[:1], Cut(3), 1, [3], None)
    assert left.tokens == [530, 950]
    assert left.whole == 1030 + 530 + 950
    assert sum(size.tokens for step in left.steps for size in step) > sum(left.tokens)


@pytest.mark.heavy
def test_a_pod_tells_its_forecast_once_and_it_counts_what_is_left(tmp_path: Path) -> None:
    values = SMALL.model_copy(update={"scenarios": 1, "questions": 1, "rotations": 1})
    folder = without_golden(lay_out(tmp_path, tiny_models(), values))
    assert run_pod(folder, tiny_models()) == 0
    (told,) = [p for p in payloads(folder, "progress") if p["what"] == "calibrated"]
    steps = [m for m in payloads(folder, "metric") if "loss" in m]
    left = [m for m in steps if m["step"] > told["step"]]
    assert told["stage"] == "training"
    assert told["steps"] >= 3
    assert told["tokens"] == sum(m["tokens"] for m in left) > 0
    training_s = told["training_s"]
    assert 0 < training_s["low"] < training_s["likely"] < training_s["high"]
    # A loaded machine may slow down any part: only the order of magnitude is certain.
    assert 0.2 < training_s["likely"] / sum(m["seconds"] for m in left) < 10
