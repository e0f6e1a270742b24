"""The estimate after a pod has measured its own speed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from brightrun.advances import advances
from brightrun.durations import Observed, Work, units
from brightrun.estimates import calibration_of, revised, training_left
from brightrun.jobs import Hyperparameters
from brightrun.observations import begun_once, cpu_seconds, observed_parts, trained
from brightrun.physics import SMOLLM2, Machine
from brightrun.prices import H100_PCIE
from brightrun.progress import Progress, progress
from brightrun.runfolder import Event, EventType
from brightrun.starts import Start, fetched

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
FORECAST = {
    "what": "calibrated", "stage": "training", "step": 2, "spread": 0.02, "steps": 9,
    "tokens": 80_000, "share": 0.8,
    "training_s": {"low": 90.0, "likely": 100.0, "high": 120.0},
}  # fmt: skip
PART = {"low": 10.0, "likely": 20.0, "high": 40.0}
FACTS: dict[str, Any] = {
    "parts": {"boot": PART, "model_loading": PART, "training": {"low": 1, "likely": 900, "high": 1},
              "measuring": PART},
    "price": {"usd_per_hour": 3.6}, "gpu": H100_PCIE,
}  # fmt: skip


def event(after: float, type_: EventType, payload: dict[str, Any], attempt: int = 1) -> Event:
    seq = int(after * 10) + 1
    return Event(
        ts=START + timedelta(seconds=after), attempt=attempt, seq=seq, type=type_, payload=payload
    )


def step(after: float, number: int, attempt: int = 1) -> Event:
    said = {"step": number, "total_steps": 10, "loss": 2.0, "tokens": 10_000, "seconds": 12.0}
    return event(after, "metric", said, attempt)


def stage(after: float, name: str, status: str, attempt: int = 1, **more: Any) -> Event:
    return event(after, "stage", {"name": name, "status": status, **more}, attempt)


def begun() -> list[Event]:
    return [
        stage(0, "model_loading", "started"),
        stage(8, "model_loading", "finished", elapsed_s=8.0),
        stage(8, "training", "started"),
        step(20, 1),
        event(33, "progress", FORECAST),
        step(33.2, 2),
    ]


def look(events: list[Event], after: float) -> Progress:
    return progress(events, {"training": 900.0}, START + timedelta(seconds=after))


def training(found: Progress) -> Any:
    return next(s for s in found.stages if s.name == "training")


def test_the_forecast_takes_the_place_of_the_first_guess() -> None:
    found = look(begun(), 34)
    assert found.calibration is not None
    assert found.calibration.steps == 9
    assert training(found).expected_s == pytest.approx(125.0)
    assert training(found).remaining_s == pytest.approx(100.0, rel=0.01)


def test_the_forecast_of_an_older_trainer_is_none() -> None:
    older = {key: value for key, value in FORECAST.items() if key != "share"}
    events = [event(33, e.type, older) if e.type == "progress" else e for e in begun()]
    assert look(events, 34).calibration is None


def test_what_is_left_shrinks_with_the_tokens_that_are_done() -> None:
    events = [*begun(), *(step(33 + 12.5 * n, 2 + n) for n in range(1, 5))]
    assert training(look(events, 84)).remaining_s == pytest.approx(50.0, rel=0.01)


def test_a_machine_that_becomes_slower_than_forecast_moves_the_rest() -> None:
    events = [*begun(), *(step(33 + 25 * n, 2 + n) for n in range(1, 5))]
    left = training(look(events, 133)).remaining_s
    assert 75 < left < 100


def test_time_without_a_pod_is_not_taken_for_a_slow_pod() -> None:
    events = [*begun(), step(45.5, 3), step(58, 4), stage(900, "training", "started", 2)]
    again = [*events, step(912, 4, 2), step(925, 5, 2)]
    known = calibration_of(again)
    assert known is not None
    assert training_left(known, again) == pytest.approx(100 * 5 / 8, rel=0.02)


def test_steps_that_a_kill_has_undone_are_not_done() -> None:
    known = {**FORECAST, "step": 5, "tokens": 50_000,
             "training_s": {"low": 50.0, "likely": 60.0, "high": 70.0}}  # fmt: skip
    lost = [step(33 + 12 * n, 2 + n) for n in range(1, 7)]  # up to step 8; step 4 was stored
    again = [*begun(), *lost, step(200, 5, 2), event(200, "progress", known, 2)]
    found = calibration_of(again)
    assert found is not None
    assert training_left(found, again) == pytest.approx(60.0)
    again += [step(212, 6, 2), step(224, 7, 2)]
    assert training_left(found, again) == pytest.approx(36.0)


def test_steps_that_are_undone_before_the_next_forecast_are_left_too() -> None:
    lost = [step(33 + 12.5 * n, 2 + n) for n in range(1, 7)]
    again = [*begun(), *lost, step(200, 5, 2)]
    known = calibration_of(again)
    assert known is not None
    # Of the eight steps of the forecast, 3 to 5 stand.
    assert training_left(known, again) == pytest.approx(100 * 5 / 8, rel=0.02)


def test_a_second_pods_forecast_replaces_the_first_ones() -> None:
    later = {**FORECAST, "step": 5, "tokens": 50_000,
             "training_s": {"low": 30.0, "likely": 40.0, "high": 50.0}}  # fmt: skip
    events = [*begun(), step(45, 3), stage(100, "training", "started", 2),
              event(120, "progress", later, 2)]  # fmt: skip
    found = look(events, 120)
    assert found.calibration is not None
    assert found.calibration.attempt == 2
    # The first pod's time counts up to its last sign of life.
    assert training(found).expected_s == pytest.approx(25 + 12 + 20 + 40)
    assert training(found).remaining_s == pytest.approx(40.0)


def test_the_revised_cost_is_what_was_spent_and_what_is_left() -> None:
    state = look(begun(), 34)
    assert state.calibration is not None
    left = (state.calibration, state.training_left_s, state.shares_left)
    found = revised(FACTS, *left, 60.0, Decimal("0.06"))
    seconds = 60 + 100 + 20  # rented until now, training, measuring; the pod is up and has loaded
    assert found["hours"]["likely"] == pytest.approx(seconds / 3600, abs=1e-3)
    assert found["cost_usd"]["likely"] == pytest.approx(seconds * 0.001, abs=1e-3)
    assert found["cost_usd"]["low"] < found["cost_usd"]["likely"] < found["cost_usd"]["high"]


def test_the_revised_cost_is_never_under_what_was_spent() -> None:
    """Time between pods, and while one starts, is in no stage, but it is billed."""
    state = look(begun(), 34)
    assert state.calibration is not None
    left = (state.calibration, state.training_left_s, state.shares_left)
    assert revised(FACTS, *left, 9000.0, Decimal(9))["cost_usd"]["low"] > 9
    done = (state.calibration, 0.0, dict.fromkeys(state.shares_left, 0.0))
    assert revised(FACTS, *done, 9000.0, Decimal(9))["cost_usd"] == {
        "low": 9.0, "likely": 9.0, "high": 9.0,
    }  # fmt: skip


def test_a_calibration_is_no_progress_that_excuses_a_lost_pod() -> None:
    lost = [("progress", FORECAST)]
    assert advances({1: lost, 2: lost}) == {1: 0, 2: 0}


WORK = Work(
    train_tokens=50_000, sum_squared_tokens=10**8, supervised_tokens=30_000, sequences=20,
    longest=5_000, epochs=2, steps=10,
)  # fmt: skip


def test_an_interrupted_job_teaches_the_speed_its_pod_measured() -> None:
    events = [*begun(), stage(100, "training", "started", 2)]
    values = Hyperparameters()
    (found,) = observed_parts(look(events, 120), WORK, Machine("cpu", 2), SMOLLM2, values)
    assert isinstance(found, Observed)
    assert found.part == "training"
    # 100 s for eight tenths of the tokens, whatever is computed twice or padded.
    assert found.seconds == pytest.approx(125.0)
    assert found.tokens == units(WORK, Machine("cpu", 2), SMOLLM2, values)["training"]


def test_an_interrupted_job_teaches_what_its_steps_took_with_their_saves() -> None:
    """Saves take 3 s, which the pod's forecast does not know; steps 4 and 5 are trained twice."""
    saved = {3: 3.0, 6: 3.0}
    events, at = begun(), 33.2
    for number in range(3, 6):  # the pod is lost before the save of step 6
        at += 12.5 + saved.get(number - 1, 0.0)
        events.append(step(at, number))
    at = 900.0
    events.append(stage(at, "training", "started", 2))
    for number in range(4, 11):
        at += 12.5 + saved.get(number - 1, 0.0)
        events.append(step(at, number, 2))
    done = stage(at + 4, "training", "finished", 2, elapsed_s=99.0)
    # 12 (the first), 13.2, 12.5; step 4 as a pod's first: 12; six steps, a save, the end.
    expected = 12 + 13.2 + 12.5 + 12 + 6 * 12.5 + 3 + 4
    assert trained([*events, done]) == pytest.approx(expected)
    assert trained(events) is None  # it has not ended
    missing = [e for e in events if e.payload.get("step") != 7]
    assert trained([*missing, done]) is None
    assert trained([*events, stage(at + 4, "training", "finished", 3)]) is None
    given = (look(events, at), WORK, Machine("cpu", 2), SMOLLM2, Hyperparameters())
    (found,) = observed_parts(*given, trained_s=expected)
    assert (found.part, found.seconds) == ("training", expected)


def test_an_interrupted_job_teaches_boots_and_the_last_stages_of_one_pod() -> None:
    events = [
        *begun(),
        stage(100, "training", "started", 2),
        stage(200, "training", "finished", 2, elapsed_s=100.0),
        stage(200, "measuring", "started", 2),
        stage(230, "measuring", "started", 3),
        stage(250, "measuring", "finished", 3, elapsed_s=20.0),
        stage(250, "finalization", "started", 3),
        stage(258, "finalization", "finished", 3, elapsed_s=8.0),
    ]
    rest = {"queue": 900.0, "weights": 50.0, "load": 5.0, "step": 3.0}
    pods = [Start(attempt=n, parts={"create": 1.0, "boot": b, "import": 4.0, **rest})
            for n, b in ((1, 30.0), (2, 5.0), (3, 7.0))]  # fmt: skip
    given = (look(events, 260), WORK, Machine("cpu", 2), SMOLLM2, Hyperparameters())
    once = begun_once(events)
    found = {o.part: o.seconds for o in observed_parts(*given, starts=pods, once=once)}
    assert found == {"boot": 12.0, "training": pytest.approx(125.0), "finalization": 8.0}


def test_a_model_that_was_fetched_teaches_nothing_wrong() -> None:
    events = [
        stage(0, "preprocessing", "started"),
        stage(640, "preprocessing", "finished", elapsed_s=640.0, detail={"fetch_s": 600.0}),
        stage(640, "measuring", "started"),
        stage(700, "measuring", "finished", elapsed_s=60.0),
    ]
    given = (look(events, 700), WORK, Machine("cpu", 2), SMOLLM2, Hyperparameters())
    assert fetched(events) == 600.0
    cpu = {"preprocessing": 30.0, "measuring": 110.0}
    found = observed_parts(*given, fetched_s=600.0, cpu=cpu)
    assert {o.part: o.seconds for o in found} == {"preprocessing": 40.0, "measuring": 60.0}
    assert {o.part: o.cpu_seconds for o in found} == {"preprocessing": None, "measuring": 110.0}


def test_what_the_processors_did_is_told_by_stage() -> None:
    events = [
        stage(0, "training", "started"),
        stage(9, "training", "finished", elapsed_s=9.0, cpu_s=16.5),
        stage(9, "measuring", "started"),
        stage(12, "measuring", "finished", elapsed_s=3.0),  # an older trainer's
    ]
    assert cpu_seconds(events) == {"training": 16.5}


def test_a_cpu_that_trains_slower_than_estimated_does_everything_slower() -> None:
    state = look(begun(), 34)
    assert state.calibration is not None
    left = (state.calibration, state.training_left_s, state.shares_left)
    facts = {**FACTS, "gpu": "cpu"}
    facts["parts"] = {**FACTS["parts"], "training": {"low": 50.0, "likely": 50.0, "high": 50.0}}
    found = revised(facts, *left, 60.0, Decimal("0.06"))
    # 125 s instead of 50: the 20 s of measuring become 50.
    assert found["hours"]["likely"] == pytest.approx((60 + 100 + 50) / 3600, abs=1e-3)
