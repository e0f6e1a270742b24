"""A job's bill: every micro-second of a pod is paid for once, under one name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brightrun.bill import Piece, bill, pieces
from brightrun.jobs import JobRequest
from brightrun.ledger import AttemptRow, Ledger
from brightrun.money import split, to_usd
from brightrun.reckoning import reckon
from brightrun.runfolder import Event
from brightrun.settings import Settings
from brightrun.spans import Span, spans

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = Decimal("3.6")  # dollars: a second costs a tenth of a cent


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def pod(
    number: int = 1, outcome: str = "done", start: float = 0, end: float | None = 100
) -> AttemptRow:
    """A pod of 0.1 cents a second, from `start` to `end` seconds."""
    cost = None if end is None else Decimal(str(end - start)) * HOUR / 3600
    known: dict[str, Any] = {
        "job_id": "j", "number": number, "provider": "local", "market": "on_demand",
        "pod_name": f"p{number}", "pod_id": "", "data_center": "", "gpu": "",
        "usd_per_hour": HOUR, "launched_at": after(start),
        "started_at": None, "ended_at": None if end is None else after(end), "outcome": outcome,
        "last_step": None, "resumed_from": None, "cost_usd": cost,
    }  # fmt: skip
    return AttemptRow(**known)


numbers = count(1)


def event(at: float, type_: Any = "heartbeat", attempt: int = 1, **payload: Any) -> Event:
    return Event(ts=after(at), attempt=attempt, seq=next(numbers), type=type_, payload=payload)


def stage(name: str, began: float, ended: float | None, attempt: int = 1) -> list[Event]:
    found = [event(began, "stage", attempt, name=name, status="started")]
    if ended is not None:
        lasted = max(0.0, ended - began)
        found.append(event(ended, "stage", attempt, name=name, status="finished", elapsed_s=lasted))
    return found


def shape(found: Sequence[Span]) -> list[tuple[str, float]]:
    return [(span.what, span.us / 1e6) for span in found]


def test_a_pods_time_is_its_boot_its_stages_and_what_is_between() -> None:
    said = [event(10), *stage("model_loading", 12, 30), *stage("training", 30, 90)]
    assert shape(spans(pod(), said, NOW)) == [
        ("boot", 10), ("starting", 2), ("model_loading", 18), ("training", 60),
        ("between stages", 10),
    ]  # fmt: skip


def test_stages_that_were_written_down_at_once_lasted_what_they_say() -> None:
    said = [event(10), *stage("preprocessing", 30, 30), *stage("model_loading", 30, 30)]
    said[2].payload["elapsed_s"], said[4].payload["elapsed_s"] = 3, 5
    said += stage("training", 30, 90)
    assert shape(spans(pod(), said, NOW)) == [
        ("boot", 10), ("starting", 12), ("preprocessing", 3), ("model_loading", 5),
        ("training", 60), ("between stages", 10),
    ]  # fmt: skip


def test_a_pod_that_never_spoke_was_boot_from_beginning_to_end() -> None:
    assert shape(spans(pod(outcome="lost:never booted", end=600), [], NOW)) == [("boot", 600)]
    assert shape(spans(pod(end=None), [], after(20))) == [("boot", 20)]


def test_what_a_lost_pod_did_after_its_last_checkpoint_is_lost() -> None:
    said = [*stage("training", 10, None), event(40, "checkpoint", step=4), event(55)]
    lost = pod(outcome="lost:no ending was written", end=60)
    assert shape(spans(lost, said, NOW)) == [("boot", 10), ("training", 30), ("lost work", 20)]
    assert shape(spans(pod(end=None), said, after(60))) == [("boot", 10), ("training", 50)]
    no_checkpoint = [said[0], said[2]]
    assert shape(spans(lost, no_checkpoint, NOW)) == [("boot", 10), ("lost work", 50)]


def test_measured_items_are_kept_like_a_checkpoint() -> None:
    said = [
        *stage("training", 10, 30), event(31, "checkpoint", step=9), *stage("measuring", 32, None),
        event(50, "progress", stage="measuring", done=3, total=9, what="answers"),
    ]  # fmt: skip
    found = spans(pod(outcome="lost:x", end=58), said, NOW)
    assert shape(found)[-2:] == [("measuring", 18), ("lost work", 8)]


def test_a_clock_that_is_wrong_moves_borders_and_not_the_sum() -> None:
    said = [event(-900), *stage("training", -890, 5000)]
    found = spans(pod(), said, NOW)
    assert shape(found) == [("training", 100)]


moments = st.floats(-50, 200, allow_nan=False)
events_ = st.lists(
    st.one_of(
        st.builds(lambda at: [event(at)], moments),
        st.builds(lambda at, s: [event(at, "checkpoint", step=s)], moments, st.integers(1, 9)),
        st.builds(lambda a, b: stage("training", a, b), moments, moments),
        st.builds(lambda a: stage("measuring", a, None), moments),
    ),
    max_size=5,
).map(lambda groups: [e for group in groups for e in group])


@settings(max_examples=60, deadline=None)
@given(said=events_, end=st.one_of(st.none(), st.integers(0, 150)), ok=st.booleans())
def test_spans_fill_the_rented_time_without_gap_or_overlap(
    said: list[Event], end: int | None, ok: bool
) -> None:
    rented = pod(outcome="done" if ok else "lost:x", end=end)
    found = spans(rented, said, after(120))
    assert sum(span.us for span in found) == (120 if end is None else end) * 10**6
    assert all(span.us > 0 for span in found)


@settings(max_examples=60, deadline=None)
@given(total=st.integers(0, 10**12), weights=st.lists(st.integers(0, 10**12), min_size=1))
def test_a_split_bill_sums_to_itself_and_is_fair_to_the_micro_dollar(
    total: int, weights: list[int]
) -> None:
    parts = split(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert part >= 0
        assert whole == 0 or abs(part * whole - total * weight) <= whole


def test_the_lines_say_what_was_paid_for() -> None:
    said = [
        event(10), *stage("training", 10, None), event(40, "checkpoint", step=4),
        event(70, "heartbeat", 2), *stage("training", 70, 95, attempt=2),
    ]  # fmt: skip
    pods = [pod(1, "lost:x", 0, 60), pod(2, "done", 60, 100)]
    found = bill(pods, said, NOW)
    assert [(line.name, line.usd) for line in found.lines] == [
        ("compute", Decimal("0.06")), ("boot", Decimal("0.02")), ("lost work", Decimal("0.02")),
    ]  # fmt: skip
    assert found.usd == Decimal("0.1")
    assert found.notional
    assert found.lines[2].basis.startswith("20.0 s of 1 pod at $3.60/h: after the last checkpoint")


def test_a_pod_that_never_spoke_is_boot_waste_once_it_is_over() -> None:
    said = [event(70, "heartbeat", 2), *stage("training", 70, 100, attempt=2)]
    pods = [pod(1, "lost:never booted", 0, 60), pod(2, "done", 60, 100)]
    assert [(line.name, line.usd) for line in bill(pods, said, NOW).lines] == [
        ("compute", Decimal("0.03")), ("boot", Decimal("0.01")), ("boot waste", Decimal("0.06")),
    ]  # fmt: skip
    booting = bill([pod(end=None)], [], after(20))
    assert [(line.name, line.seconds) for line in booting.lines] == [("compute", 0), ("boot", 20)]


_names = count()


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rented=st.lists(
        st.tuples(
            st.decimals(0, 20, places=6), st.integers(0, 10**11), st.sampled_from(["", "lost:x"]),
            st.one_of(st.none(), st.decimals(0, 5, places=6)),
        ),
        max_size=4,
    ),
    said=events_,
)  # fmt: skip
def test_the_bill_is_the_ledgers_cost_to_the_micro_dollar(
    shared_ledger: Ledger,
    rented: list[tuple[Decimal, int, str, Decimal | None]],
    said: list[Event],
) -> None:
    ledger, job = shared_ledger, f"job-{next(_names)}"
    ledger.create_job(job, JobRequest(training_file="f"))
    for number, (price, lasted, outcome, given_usd) in enumerate(rented, 1):
        ledger.add_attempt(
            job, number, provider="local", market="spot", pod_name=f"{job}-{number}",
            usd_per_hour=price, launched_at=NOW,
        )  # fmt: skip
        if outcome:
            end = NOW + timedelta(microseconds=lasted)
            ledger.end_attempt(job, number, end, outcome, cost_usd=given_usd)
    found = bill(ledger.attempts(job), said, after(500))
    assert found.usd == ledger.cost_so_far(job, after(500))
    assert found.usd == sum(line.usd for line in found.lines)


@pytest.fixture(scope="module")
def shared_ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    place: Path = tmp_path_factory.mktemp("bills")
    return Ledger.open(Settings(home=place))


FACTS = {
    "parts": {
        name: {"low": 1, "likely": seconds, "high": 99}
        for name, seconds in (("boot", 10), ("model_loading", 20), ("training", 50), ("saving", 5),
                              ("interruptions", 0))
    },
    "price": {"usd_per_hour": 3.6},
    "cost_usd": {"low": 0.05, "likely": 0.085, "high": 0.2},
}  # fmt: skip


def test_each_part_is_held_against_its_estimate() -> None:
    said = [event(10), *stage("model_loading", 10, 30), *stage("training", 30, 96)]
    found = reckon(pieces([pod()], said, NOW), FACTS)
    assert [(p.name, p.estimate_usd, p.actual_usd, p.off) for p in found.parts] == [
        ("boot", Decimal("0.01"), Decimal("0.01"), 0.0),
        ("model_loading", Decimal("0.02"), Decimal("0.02"), 0.0),
        ("training", Decimal("0.055"), Decimal("0.066"), 0.2),
        ("waiting", Decimal(0), Decimal("0.004"), None),
    ]
    assert (found.actual_usd, found.off, found.within) == (Decimal("0.1"), 0.176471, False)
    assert sum(p.actual_usd for p in found.parts) == found.actual_usd


def test_what_is_done_a_second_time_is_the_interruptions() -> None:
    said = [
        *stage("training", 10, None), event(50, "checkpoint", step=4), event(70, "heartbeat", 2),
        *stage("model_loading", 70, 80, attempt=2), *stage("training", 80, 100, attempt=2),
    ]  # fmt: skip
    pods = [pod(1, "lost:x", 0, 60), pod(2, "done", 60, 100)]
    found = {p.name: p.actual_usd for p in reckon(pieces(pods, said, NOW), FACTS).parts}
    assert found["interruptions"] == Decimal("0.03")  # lost work, boot and loading, 10 s each
    assert found["training"] == Decimal("0.06")
    assert found["boot"] == Decimal("0.01")


@pytest.mark.parametrize(
    ("micro", "within"),
    [(115_000, True), (115_001, False), (85_000, True), (84_999, False)],
)
def test_fifteen_percent_is_the_border(micro: int, within: bool) -> None:
    facts = {**FACTS, "cost_usd": {"low": 0.05, "likely": 0.1, "high": 0.2}}
    found = reckon([Piece(attempt=1, what="training", us=1, micro=micro)], facts)
    assert found.actual_usd == to_usd(micro)
    assert found.within is within
