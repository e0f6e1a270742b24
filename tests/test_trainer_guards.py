"""The guards' rules, as values in and values out."""

from __future__ import annotations

import math
import random
import threading
import time

import pytest

from brightrun.errors import TrainerError
from trainer import guards
from trainer.course import Course
from trainer.guards import Band, Divergence
from trainer.stall import StallWatch


def falling(count: int, seed: int = 1) -> list[float]:
    """Losses as a healthy run has them: 2.4 to 1.6 with a spread between batches of 0.12."""
    noise = random.Random(seed)
    return [1.6 + 0.8 * math.exp(-step / 40) + noise.gauss(0, 0.12) for step in range(count)]


def test_no_healthy_run_is_called_diverging() -> None:
    for seed in range(200):
        run = Divergence()
        for step, loss in enumerate(falling(120, seed)):
            run.add(loss, step, 2e-4)


def test_a_spike_passes_and_does_not_widen_the_band() -> None:
    run = Divergence(falling(30))
    before = guards.ceiling(run.usual)
    run.add(9.0, 31, 2e-4)
    assert run.suspicious
    assert guards.ceiling(run.usual) == before
    run.add(1.9, 32, 2e-4)
    assert not run.suspicious


def test_five_high_losses_in_a_row_stop_with_half_the_learning_rate() -> None:
    run = Divergence(falling(30))
    for step in range(4):
        run.add(3.5 + step, 31 + step, 2e-4)
    with pytest.raises(TrainerError, match=r"diverges.*up to step 35.*8\.000") as error:
        run.add(8.0, 35, 2e-4)
    assert error.value.adjustment == {"learning_rate": 1e-4}


def test_a_rise_from_the_first_steps_on_is_seen_too() -> None:
    run = Divergence([2.4, 2.5, 2.4, 2.3, 2.5])
    for step in range(4):
        run.add(4.0 + step, step, 3e-4)
    with pytest.raises(TrainerError, match="diverges"):
        run.add(8.0, 5, 3e-4)


def test_nan_and_infinity_name_the_rows_of_the_step() -> None:
    guards.check_finite(2.0, 3, ["a"], 2e-4)
    for loss in (math.nan, math.inf):
        with pytest.raises(TrainerError, match=f"step 3 is {loss}") as error:
            guards.check_finite(loss, 3, ["a", "b"], 2e-4)
        assert "a, b" in error.value.cause
        assert error.value.adjustment == {"learning_rate": 1e-4}


def test_a_broken_gradient_ends_the_run_although_the_loss_is_fine() -> None:
    for norm in (math.nan, math.inf):
        with pytest.raises(TrainerError, match=f"gradient norm of step 1 is {norm}") as error:
            course([]).add(1, 2.0, 10, ["a", "b"], 1e-4, norm)
        assert error.value.fault == "nan_loss"
        assert "a, b" in error.value.cause


def test_a_healthy_resume_stays_in_the_band_of_its_checkpoint() -> None:
    alarms = 0
    for seed in range(300):
        losses = falling(60, seed)
        before = guards.band(losses[:40])
        assert before is not None
        alarms += sum(losses[40:43]) / 3 > guards.upper_limit(before, 3)
    assert alarms <= 1


def test_a_resume_on_the_base_model_without_its_adapter_is_stopped() -> None:
    before = guards.band(falling(60)[-10:])
    assert before is not None
    with pytest.raises(TrainerError, match="resumed at step 60") as error:
        guards.check_continuity(before, [2.5, 2.4, 2.3], 60)
    assert "base model" in error.value.cause
    guards.check_continuity(before, [before.mean] * 3, 60)
    guards.check_continuity(before, [before.mean / 2], 60)


def test_the_band_covers_the_last_ten_losses_and_survives_the_manifest() -> None:
    assert guards.band([]) is None
    made = guards.band([100.0, *[2.0, 3.0] * 5])
    assert made == Band(2.5, pytest.approx(0.527, abs=1e-3), 10)
    assert guards.read_band(made.as_dict()) == made
    assert guards.read_band(None) is None
    # One loss tells nothing about the spread.
    assert guards.upper_limit(Band(2.0, 0.0, 1), 3) == math.inf
    assert guards.upper_limit(Band(2.0, 0.0, 10), 3) == pytest.approx(2.1)


def test_the_stall_limit_follows_the_median_step() -> None:
    assert guards.stall_seconds([]) == 1800
    assert guards.stall_seconds([2.0, 3.0, 900.0]) == 300
    assert guards.stall_seconds([50.0, 60.0, 70.0]) == 600
    error = guards.stalled(700, 600, "training", 12, "backward")
    assert "after step 12" in error.message
    assert "700 s" in error.message


def course(losses: list[float], manifest: dict[str, object] | None = None, at: int = 0) -> Course:
    """Two epochs of four steps with 10, 20, 30, 40 supervised tokens."""
    made = Course([10, 20, 30, 40] * 2, 4, at, manifest)
    made.go_on_from(losses)
    return made


def test_tokens_scored_in_an_epoch_are_those_of_the_data() -> None:
    made = course([])
    for step, scored in enumerate([10, 20, 30, 40] * 2, start=1):
        made.add(step, 2.0, scored, ["a"], 1e-4)
    assert made.detail() == {"scored_tokens": [100, 100], "supervised_tokens_per_epoch": 100}
    made = course([])
    for step, scored in enumerate([10, 20, 30], start=1):
        made.add(step, 2.0, scored, ["a"], 1e-4)
    with pytest.raises(TrainerError, match=r"epoch 1 was trained on 99 supervised .* has 100"):
        made.add(4, 2.0, 39, ["a"], 1e-4)


def test_the_count_goes_on_over_a_resume() -> None:
    first = course([])
    first.add(1, 2.0, 10, ["a"], 1e-4)
    first.add(2, 2.1, 20, ["a"], 1e-4)
    facts = first.facts()
    assert facts["scored_tokens"] == 30
    for manifest in (facts, {}):
        made = course([2.0, 2.1], manifest, at=2)
        made.add(3, 2.0, 30, ["a"], 1e-4)
        made.add(4, 2.0, 40, ["a"], 1e-4)
        assert made.detail()["scored_tokens"] == [100]
    lost = course([2.0, 2.1], {**facts, "scored_tokens": 29}, at=2)
    lost.add(3, 2.0, 30, ["a"], 1e-4)
    with pytest.raises(TrainerError, match="99 supervised"):
        lost.add(4, 2.0, 40, ["a"], 1e-4)


def test_a_resume_is_judged_by_its_first_three_losses_only() -> None:
    band = {"loss_band": {"mean": 2.0, "std": 0.05, "steps": 10}}
    with pytest.raises(TrainerError, match="resumed at step 4, the first 1 losses"):
        course([2.0] * 4, band, at=4).add(5, 2.6, 10, ["a"], 1e-4)
    made = course([2.0] * 4, band, at=4)
    for step, scored in ((5, 10), (6, 20), (7, 30)):
        made.add(step, 2.05, scored, ["a"], 1e-4)
    made.add(8, 2.6, 40, ["a"], 1e-4)


def test_nothing_is_saved_while_the_loss_is_suspicious() -> None:
    made = Course([10] * 40, 40)
    for step in range(1, 11):
        made.add(step, 2.0, 10, ["a"], 1e-4)
    assert made.may_save
    made.add(11, 5.0, 10, ["a"], 1e-4)
    assert not made.may_save
    made.add(12, 2.0, 10, ["a"], 1e-4)
    assert made.may_save


def waiting_for_a_dead_gpu(ended: threading.Event) -> None:
    ended.wait(30)


def test_a_run_that_stands_still_is_ended_once_with_the_place_it_stands_at() -> None:
    ended, errors = threading.Event(), []

    def end(error: TrainerError) -> None:
        errors.append(error)
        ended.set()

    watch = StallWatch(end, poll=0.01, limit=lambda seconds: 0.05 * len(seconds))
    watch.stepped(7, 1.0)
    with watch.watching():
        waiting_for_a_dead_gpu(ended)
    (error,) = errors
    assert error.fault == "stall"
    assert "after step 7" in error.message
    assert "threading.py" in error.message


def test_signs_of_life_keep_a_slow_run_going() -> None:
    errors: list[TrainerError] = []
    watch = StallWatch(errors.append, poll=0.01, limit=lambda seconds: 5.0)
    with watch.watching():
        for _ in range(20):
            watch.alive()
            time.sleep(0.01)
    assert errors == []
    assert watch.silence < 5
