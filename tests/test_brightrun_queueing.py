"""Who gets the next GPU, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brightrun.queueing import Waiting, places

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def waiting(name: str, minutes: int = 0, **more: Any) -> Waiting:
    return Waiting(job_id=name, since=NOON + timedelta(minutes=minutes), seconds=100, **more)


def order(*jobs: Waiting) -> list[str]:
    return [place.job_id for place in places(jobs, [], 1)]


def test_who_waits_longest_is_next_unless_somebody_matters_more() -> None:
    assert order(waiting("late", 5), waiting("early")) == ["early", "late"]
    assert order(waiting("early"), waiting("urgent", 5, priority=1)) == ["urgent", "early"]
    half_done = waiting("half done", 9, begun=True)
    assert order(waiting("urgent", priority=9), half_done)[0] == "half done"


def test_each_start_is_when_the_first_gpu_is_free() -> None:
    line = [waiting("a"), waiting("b", 1), waiting("c", 2)]
    assert [p.starts_in_s for p in places(line, [30.0, 500.0], 2)] == [30, 130, 230]
    assert [p.starts_in_s for p in places(line, [], 2)] == [0, 0, 100]
    assert [(p.position, p.of) for p in places(line, [], 1)] == [(1, 3), (2, 3), (3, 3)]


def test_a_lowered_quota_waits_for_more_than_one_to_end() -> None:
    assert places([waiting("a")], [10.0, 20.0, 30.0], 1)[0].starts_in_s == 30
    assert places([waiting("a")], [10.0, 20.0, 30.0], 2)[0].starts_in_s == 20


@given(
    st.lists(st.floats(0, 1e4), max_size=6), st.lists(st.integers(0, 9), max_size=6),
    st.integers(1, 4),
)  # fmt: skip
def test_starts_never_overtake_the_queue(
    running: list[float], priorities: list[int], quota: int
) -> None:
    line = [waiting(f"j{n}", n, priority=p) for n, p in enumerate(priorities)]
    found = places(line, running, quota)
    starts = [p.starts_in_s for p in found]
    assert starts == sorted(starts)
    assert {p.job_id for p in found} == {w.job_id for w in line}
