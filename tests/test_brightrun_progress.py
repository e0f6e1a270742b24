"""How far a job is: pure over its events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brightrun.progress import STAGES, Progress, progress
from brightrun.runfolder import Event, EventType

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXPECTED = {"preprocessing": 2.0, "model_loading": 10.0, "training": 40.0, "measuring": 20.0,
            "finalization": 10.0}  # fmt: skip


class Story:
    """Writes events one second after the other."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = START

    def tell(
        self, attempt: int, type_: EventType, payload: dict[str, Any], after: float = 1
    ) -> None:
        self.now += timedelta(seconds=after)
        seq = sum(e.attempt == attempt for e in self.events) + 1
        self.events.append(
            Event(ts=self.now, attempt=attempt, seq=seq, type=type_, payload=payload)
        )

    def stage(self, attempt: int, name: str, status: str, after: float = 1, **more: Any) -> None:
        self.tell(attempt, "stage", {"name": name, "status": status, **more}, after)

    def whole(self, attempt: int, name: str, seconds: float = 1) -> None:
        self.stage(attempt, name, "started")
        self.stage(attempt, name, "finished", seconds, elapsed_s=seconds)

    def step(self, attempt: int, step: int, total: int = 10, after: float = 1) -> None:
        loss = {"step": step, "total_steps": total, "epoch": step / 5, "loss": 5 - step / 10,
                "learning_rate": 1e-4, "tokens_per_s": 50.0, "seconds": after}  # fmt: skip
        self.tell(attempt, "metric", loss, after)

    def by_attempt(self) -> list[Event]:
        """As the ledger gives them."""
        return sorted(self.events, key=lambda e: (e.attempt, e.seq))

    def look(self, *, ended: bool = False, failed: bool = False, after: float = 0) -> Progress:
        now = self.now + timedelta(seconds=after)
        return progress(self.by_attempt(), EXPECTED, now, ended=ended, failed=failed)


def interrupted() -> Story:
    """Killed at step 6, resumed from the checkpoint of step 4."""
    story = Story()
    for name in ("validate", "plan", "estimate"):
        story.whole(0, name)
    story.whole(1, "preprocessing", 2)
    story.whole(1, "model_loading", 8)
    story.stage(1, "training", "started")
    for n in range(1, 7):
        story.step(1, n)
    story.whole(2, "preprocessing", 2)
    story.whole(2, "model_loading", 8)
    story.stage(2, "training", "started", detail={"resumed_from": 4})
    for n in range(5, 11):
        story.step(2, n)
    story.stage(2, "training", "finished", elapsed_s=7.0)
    return story


def stage_of(found: Progress, name: str) -> Any:
    return next(s for s in found.stages if s.name == name)


def test_nothing_has_happened_yet() -> None:
    found = progress([], {}, START)
    assert (found.fraction, found.elapsed_s, found.interruptions, found.stage) == (0.0, 0.0, 0, "")
    assert [s.name for s in found.stages] == list(STAGES)


def test_a_second_pod_is_counted_and_its_seconds_are_added_up() -> None:
    found = interrupted().look()
    assert found.pods == 2
    assert found.step == 10
    assert stage_of(found, "model_loading").elapsed_s == 16
    # 6 s until the last sign of the pod that died, then the 7 s that the second one says
    assert stage_of(found, "training").elapsed_s == 6 + 7
    assert [s for s, _ in found.losses] == list(range(1, 11))


def test_training_is_judged_by_the_pace_of_its_steps() -> None:
    story = Story()
    story.stage(1, "training", "started")
    for n in range(1, 5):
        story.step(1, n, after=3)
    found = stage_of(story.look(), "training")
    assert found.fraction == 0.4
    assert found.remaining_s == 6 * 3


def test_the_bar_does_not_fall_back_when_the_first_step_ends() -> None:
    story = Story()
    story.stage(1, "training", "started")
    before = story.look(after=30).fraction
    story.step(1, 1, after=35)
    assert story.look().fraction >= before


def test_a_stage_of_the_control_plane_runs_whatever_the_pods_said() -> None:
    """The ledger gives attempt 0 first: a pod's later events must not close `evaluate`."""
    story = interrupted()
    story.stage(0, "evaluate", "started")
    found = story.look(after=4)
    assert found.stage == "evaluate"
    assert stage_of(found, "evaluate").status == "running"
    assert stage_of(found, "evaluate").elapsed_s == 4


def test_the_share_done_does_not_fall_when_a_new_pod_loads_the_model_again() -> None:
    story, seen = interrupted(), []
    whole = story.events
    for count in range(1, len(whole) + 1):
        story.events, story.now = whole[:count], whole[count - 1].ts
        seen.append(story.look().fraction)
    assert seen == sorted(seen)


def test_an_ended_job_runs_no_more_and_has_nothing_left() -> None:
    story = interrupted()
    story.stage(2, "measuring", "started")
    story.tell(2, "heartbeat", {"stage": "measuring", "step": 10, "memory_mb": 900})
    found = story.look(ended=True, after=10_000)
    assert [s.name for s in found.stages if s.status == "running"] == []
    assert found.remaining_s == 0
    assert stage_of(found, "measuring").elapsed_s == 1


def test_warnings_and_the_last_heartbeat_are_shown() -> None:
    story = interrupted()
    story.tell(2, "heartbeat", {"stage": "measuring", "memory_mb": 900.0, "gpu_percent": 80.0})
    story.tell(2, "warning", {"code": "x", "message": "checkpoint of step 4 is not used"})
    found = story.look()
    assert (found.memory_mb, found.gpu_percent) == (900.0, 80.0)
    assert found.warnings == ("checkpoint of step 4 is not used",)


MOVES = st.one_of(
    st.tuples(st.sampled_from(STAGES), st.sampled_from(["started", "finished", "skipped"])),
    st.tuples(st.just("step"), st.integers(1, 12)),
    st.tuples(st.just("items"), st.integers(0, 9)),
)


@given(
    st.lists(st.tuples(st.integers(0, 3), MOVES, st.floats(-50, 500)), max_size=25),
    st.booleans(),
    st.floats(-100, 1000),
)
def test_no_clock_and_no_order_of_events_gives_a_negative_number(
    told: list[tuple[int, tuple[str, Any], float]], ended: bool, later: float
) -> None:
    """Clocks of machines differ, pods die anywhere: times stay >= 0 and shares within 0..1."""
    story = Story()
    for attempt, (what, value), after in told:
        if what == "step":
            story.step(attempt, value, total=10, after=after)
            story.events[-1].payload["seconds"] = abs(after)
        elif what == "items":
            done = {"stage": "measuring", "done": value, "total": 8, "what": "answers"}
            story.tell(attempt, "progress", done, after)
        else:
            story.stage(attempt, what, value, after, elapsed_s=abs(after))
    found = progress(story.by_attempt(), EXPECTED, START + timedelta(seconds=later), ended=ended)
    assert 0 <= found.fraction <= 1
    assert found.elapsed_s >= 0
    assert found.remaining_s >= 0
    for stage in found.stages:
        assert stage.elapsed_s >= 0
        assert stage.remaining_s >= 0
        assert 0 <= stage.fraction <= 1
        assert not (ended and stage.status == "running")


def test_measuring_counts_each_kind_of_item_on_its_own_and_never_falls_back() -> None:
    rows = [("likelihood, baseline", 5, 10), ("likelihood, trained", 10, 10)]
    rows += [("neutral, baseline", 0, 4), ("knowledge, baseline", 1, 50)]
    rows += [("option texts, trained", 0, 9), ("something new", 0, 9), ("answers, trained", 12, 24)]
    story, seen = Story(), []
    for what, done, total in rows:
        story.tell(
            1, "progress", {"stage": "measuring", "what": what, "done": done, "total": total}
        )
        state = progress(story.events, EXPECTED, story.now)
        seen.append(next(s.fraction for s in state.stages if s.name == "measuring"))
    assert seen == sorted(seen)
    assert seen[1] == 0.1
    assert 0.3 < seen[-1] < 0.4


def test_the_bar_comes_to_its_end_where_a_quick_look_leaves_kinds_out() -> None:
    story, seen = Story(), []
    rows = [("option texts", 0), ("influence", 0), ("likelihood", 10), ("neutral", 4)]
    for what, total in [*rows, ("knowledge", 50), ("answers", 24)]:
        said = {"stage": "measuring", "what": what, "done": total, "total": total}
        story.tell(1, "progress", said)
        seen.append(stage_of(progress(story.events, EXPECTED, story.now), "measuring").fraction)
    assert seen[:2] == [0.0, 0.0]
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(("failed", "status"), [(True, "failed"), (False, "stopped")])
def test_the_stage_in_which_a_job_ended_says_so(failed: bool, status: str) -> None:
    story = Story()
    story.whole(0, "validate")
    story.stage(1, "training", "started")
    story.step(1, 1, after=5)
    assert stage_of(story.look(), "training").status == "running"
    found = story.look(ended=True, failed=failed, after=100)
    training = stage_of(found, "training")
    assert (training.status, training.elapsed_s, training.remaining_s) == (status, 5.0, 0.0)
    assert stage_of(found, "validate").status == "finished"
    assert stage_of(found, "report").status == "waiting"
