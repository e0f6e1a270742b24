"""The ledger against a provider's bill: nothing is lost or told twice, each has a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brightrun.compute.provider import Billed
from brightrun.ledger import AttemptRow
from brightrun.reconciling import Reconciliation, compare

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SINCE = NOW - timedelta(days=7)
RATE = Decimal("3.6")  # dollars an hour: a tenth of a cent a second
POD = AttemptRow(
    job_id="j1", number=1, provider="runpod", market="spot", pod_name="br-j1-1-aa", pod_id="p1",
    data_center="", gpu="", usd_per_hour=RATE, launched_at=NOW - 5 * HOUR, started_at=None,
    ended_at=NOW - 3 * HOUR, outcome="done", last_step=None, resumed_from=None,
    cost_usd=Decimal("7.2"),
)  # fmt: skip


def billed(usd: str | Decimal, pod_id: str = "p1", **more: Any) -> Billed:
    known: dict[str, Any] = {"start": NOW - 5 * HOUR, "end": NOW - 4 * HOUR}
    return Billed(pod_id=pod_id, usd=Decimal(usd), **{**known, **more})


def against(rows: list[Billed], *rented: tuple[AttemptRow, str | Decimal]) -> Reconciliation:
    pods = [(pod, Decimal(usd)) for pod, usd in rented]
    return compare(rows, pods, provider="runpod", notional=False, since=SINCE, now=NOW)


def reason(rows: list[Billed], pod: AttemptRow = POD, usd: str = "7.2") -> str:
    (found,) = against(rows, (pod, usd)).differences
    assert not found.alarm
    return found.reason


def test_a_bill_that_fits_has_no_differences() -> None:
    found = against([billed("3.6"), billed("3.6", start=NOW - 4 * HOUR)], (POD, "7.2"))
    assert found.differences == ()
    assert (found.pods, found.billed_usd, found.difference_usd) == (1, Decimal("7.2"), 0)


@pytest.mark.parametrize(
    ("row", "pod", "why"),
    [
        (billed("7.1995"), POD, "rounding"),
        (billed("7.18"), POD, "boot seconds: 20 s are not billed"),
        (billed("7.25"), POD, "billed 50 s longer"),
        (billed("7.34", disk_usd=Decimal("0.14")), POD, "the pod's disk ($0.1400)"),
        (billed("7"), replace(POD, ended_at=None, cost_usd=None), "still running"),
        (billed("1"), replace(POD, usd_per_hour=Decimal(0)), "billed although"),
    ],
)
def test_a_difference_has_its_probable_reason(row: Billed, pod: AttemptRow, why: str) -> None:
    assert why in reason([row], pod)


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (POD, "not on the bill yet"),
        (replace(POD, ended_at=NOW - timedelta(days=3)), "has billed nothing"),
        (replace(POD, pod_id=""), "never confirmed"),
    ],
)
def test_a_pod_that_is_not_on_the_bill_is_told(pod: AttemptRow, why: str) -> None:
    assert why in reason([], pod)


def test_a_pod_that_was_never_had_and_is_not_billed_is_no_difference() -> None:
    assert against([], (replace(POD, pod_id=""), "0")).pods == 0


def test_our_pod_that_the_ledger_does_not_know_is_an_alarm() -> None:
    found = against([billed("2", "p9", name="br-old-1-x")], (POD, "0"))
    (alarm,) = found.alarms
    assert (alarm.pod_name, alarm.difference_usd) == ("br-old-1-x", Decimal(2))
    assert "does not know" in alarm.reason
    assert found.difference_usd == 2


def test_a_pod_without_a_name_may_be_the_one_whose_id_was_never_learned() -> None:
    doubtful = replace(POD, pod_id="", job_id="j7", number=2)
    (alarm,) = against([billed("2", "p9")], (doubtful, "0")).alarms
    assert "perhaps attempt 2 of job j7" in alarm.reason
    assert alarm.billed_usd == 2


def test_pods_of_others_are_counted_and_not_compared() -> None:
    found = against([billed("2", "p8", name="their-notebook"), billed("1", "p9")], (POD, "0"))
    assert (found.others, found.others_usd) == (2, Decimal(3))
    assert (found.alarms, found.difference_usd) == ((), 0)


def test_a_pod_that_is_billed_after_its_end_is_an_alarm() -> None:
    late = billed("3.6", start=NOW - HOUR, end=NOW)
    (alarm,) = against([billed("7.2"), late], (POD, "7.2")).alarms
    assert "after its books were closed" in alarm.reason


dollars = st.decimals(0, 50, places=6)
ids = st.sampled_from(["p1", "p2", "p3", "p4"])
names = st.sampled_from(["", "br-x", "theirs"])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(ids, dollars), max_size=8),
    name_of=st.fixed_dictionaries(dict.fromkeys(("p1", "p2", "p3", "p4"), names)),
    pods=st.lists(st.tuples(ids, dollars, st.booleans()), max_size=3, unique_by=lambda p: p[0]),
    seed=st.randoms(use_true_random=False),
)  # fmt: skip
def test_every_dollar_is_in_exactly_one_place(
    rows: list[tuple[str, Decimal]],
    name_of: dict[str, str],
    pods: list[tuple[str, Decimal, bool]],
    seed: Any,
) -> None:
    bill = [billed(usd, pod_id, name=name_of[pod_id]) for pod_id, usd in rows]
    rented = [
        (replace(POD, pod_id=i, pod_name=f"br-{i}", number=n,
                 ended_at=None if is_open else POD.ended_at), usd)
        for n, (i, usd, is_open) in enumerate(pods, 1)
    ]  # fmt: skip
    found = against(bill, *rented)
    assert found.billed_usd + found.others_usd == sum(usd for _, usd in rows)
    assert found.ledger_usd == sum(usd for _, usd, _ in pods)
    apart = sum(d.difference_usd for d in found.differences)
    assert apart == found.difference_usd
    keys = [(d.pod_id, d.pod_name) for d in found.differences]
    assert len(keys) == len(set(keys))
    assert all(d.reason for d in found.differences)
    seed.shuffle(bill)
    assert against(bill, *rented) == found
    assert sum(Decimal(str(d["difference_usd"])) for d in found.as_json()["differences"]) == apart
