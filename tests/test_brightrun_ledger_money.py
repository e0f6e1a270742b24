"""Money in the ledger: exact to the micro-dollar, whole over month borders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.money import part_of, rental, to_micro, to_usd
from brightrun.settings import Settings

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WISH = JobRequest(training_file="sample")
MICRO = Decimal("0.000001")
fast = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
prices = st.decimals(0, 20, places=6)
times = st.integers(0, 90 * 86_400 * 10**6).map(lambda us: timedelta(microseconds=us))
_names = count()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return Ledger.open(Settings(home=tmp_path))


def new_job(ledger: Ledger) -> str:
    job_id = f"job-{next(_names)}"
    ledger.create_job(job_id, WISH)
    return job_id


def rent(ledger: Ledger, job: str, number: int, price: Decimal, at: datetime = NOW) -> None:
    ledger.add_attempt(
        job,
        number,
        provider="local",
        market="on_demand",
        pod_name=f"br-{job}-{number}",
        usd_per_hour=price,
        launched_at=at,
    )


def test_a_pod_bills_from_launch_to_the_microsecond(ledger: Ledger) -> None:
    job = new_job(ledger)
    rent(ledger, job, 1, Decimal("7.99"))
    assert ledger.cost_so_far(job, NOW) == 0
    assert ledger.cost_so_far(job, NOW + timedelta(seconds=1)) == Decimal("0.002219")
    assert ledger.cost_so_far(job, NOW + timedelta(hours=10)) == Decimal("79.9")
    assert ledger.cost_so_far(job, NOW - timedelta(hours=1)) == 0


def test_an_amount_given_at_the_end_replaces_the_computed_one(ledger: Ledger) -> None:
    job = new_job(ledger)
    for number in (1, 2):
        rent(ledger, job, number, Decimal(1))
    ledger.end_attempt(job, 1, NOW, "lost:never started", cost_usd=Decimal("0.07"))
    ledger.end_attempt(job, 2, NOW + timedelta(hours=3), "done", cost_usd=Decimal(0))
    assert ledger.cost_so_far(job, NOW + timedelta(days=9)) == Decimal("0.07")


@fast
@given(rented=st.lists(st.tuples(prices, times, times, st.booleans()), max_size=6))
def test_the_cost_so_far_is_the_sum_of_price_times_time(
    ledger: Ledger, rented: list[tuple[Decimal, timedelta, timedelta, bool]]
) -> None:
    job, now, exact = new_job(ledger), NOW + timedelta(days=100), Fraction(0)
    for number, (price, start, length, closed) in enumerate(rented, 1):
        launched = NOW + start
        rent(ledger, job, number, price, launched)
        end = launched + length if closed else now
        if closed:
            ledger.end_attempt(job, number, end, "done")
        us = max(timedelta(0), end - launched) // timedelta(microseconds=1)
        exact += Fraction(price) * us / (3600 * 10**6)
    cost = ledger.cost_so_far(job, now)
    assert cost == cost.quantize(MICRO)
    assert abs(Fraction(cost) - exact) <= Fraction(len(rented), 2 * 10**6)
    for number in range(1, len(rented) + 1):
        ledger.end_attempt(job, number, now, "done")
    assert ledger.cost_so_far(job, now) == cost
    bills = [row.cost_usd for row in ledger.attempts(job)]
    assert sum(filter(None, bills), Decimal(0)) == cost


@fast
@given(price=prices, start=times, length=times, bill=st.none() | prices, closed=st.booleans())
def test_the_months_of_a_bill_sum_to_the_bill(
    tmp_path_factory: pytest.TempPathFactory,
    ledger: Ledger,
    price: Decimal,
    start: timedelta,
    length: timedelta,
    bill: Decimal | None,
    closed: bool,
) -> None:
    months = [datetime(2026 + m // 12, m % 12 + 1, 28, 23, tzinfo=UTC) for m in range(10, 19)]
    before = [ledger.spent_this_month(month, UTC) for month in months]
    job, launched = new_job(ledger), NOW + start
    rent(ledger, job, 1, price, launched)
    end = launched + length
    ledger.end_attempt(job, 1, end, "done", cost_usd=bill)
    after = [ledger.spent_this_month(month, UTC) for month in months]
    parts = [b - a for a, b in zip(before, after, strict=True)]
    assert all(part >= 0 for part in parts)
    assert sum(parts) == ledger.cost_so_far(job, end)


def test_a_month_begins_where_its_time_zone_says(ledger: Ledger) -> None:
    job = new_job(ledger)
    rent(ledger, job, 1, Decimal(1), datetime(2026, 10, 31, 22, 0, tzinfo=UTC))
    ledger.end_attempt(job, 1, datetime(2026, 11, 1, 2, 0, tzinfo=UTC), "done")
    assert ledger.spent_this_month(NOW) == 2
    assert ledger.spent_this_month(NOW, ZoneInfo("Europe/Berlin")) == 3
    assert ledger.spent_this_month(NOW, ZoneInfo("America/New_York")) == 0
    assert ledger.spent_this_month(datetime(2026, 10, 5, tzinfo=UTC)) == 2


def test_a_running_pod_counts_in_the_month_up_to_now(ledger: Ledger) -> None:
    job = new_job(ledger)
    rent(ledger, job, 1, Decimal(2), datetime(2026, 10, 31, 12, 0, tzinfo=UTC))
    assert ledger.spent_this_month(datetime(2026, 11, 1, 6, 0, tzinfo=UTC)) == 12
    assert ledger.spent_this_month(datetime(2026, 10, 31, 18, 0, tzinfo=UTC)) == 12
    assert ledger.open_attempts()[0].job_id == job


def test_what_is_held_counts_less_what_the_job_has_cost(ledger: Ledger) -> None:
    def estimated(status: str, high: float, held: str = "") -> str:
        job = new_job(ledger)
        cost = {"low": 1.0, "likely": 2.0, "high": high}
        ledger.update_job(job, status=status, estimate={"cost_usd": cost})
        if held:
            ledger.at_gate(job, lambda month, client: (None, Decimal(held)), NOW)
        return job

    waiting, running = estimated("awaiting_approval", 100.0), estimated("running", 40.0, "50")
    over = estimated("running", 1000.0, "1250")
    ledger.update_job(over, status="completed")
    new_job(ledger)
    rent(ledger, running, 1, Decimal(3))
    later = NOW + timedelta(hours=4)
    state = ledger.budget_state(later)
    assert state.month == "2026-11"
    assert [state.limit, state.spent, state.committed, state.waiting] == [500, 12, 38, 100]
    assert state.left == 450  # who waits at the gate keeps nobody from passing it
    assert ledger.budget_state(later, excluding=waiting).waiting == 0
    assert ledger.budget_state(NOW + timedelta(hours=100)).committed == 0
    assert [hold.job_id for hold in ledger.open_holds(later)] == [running]
    assert ledger.forecast(later) == {
        "spent": 12, "running_likely": 0, "waiting_likely": 2, "likely": 14, "most": 150,
    }  # fmt: skip


def test_the_months_budget_is_its_own_row_or_the_default(ledger: Ledger) -> None:
    assert ledger.month_limit("2026-11") == ledger.settings.month_budget_usd
    ledger.set_month_limit("2026-11", Decimal("750.50"), set_by="cfo", note="launch")
    ledger.set_month_limit("2026-11", Decimal("800"), set_by="cfo")
    assert ledger.month_limit("2026-11") == 800
    assert ledger.month_limit("2026-12") == ledger.settings.month_budget_usd


@given(st.decimals(-(10**9), 10**9, places=6))
def test_dollars_survive_the_way_through_micro_dollars(usd: Decimal) -> None:
    assert to_usd(to_micro(usd)) == usd


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**12), max_size=5))
def test_rental_is_rounded_half_up_and_parts_sum(price: int, cuts: list[int]) -> None:
    whole = 10**12
    bill = rental(price, whole)
    assert abs(Fraction(price * whole, 3600 * 10**6) - bill) <= Fraction(1, 2)
    marks = [0, *sorted(cuts), whole]
    ends = [part_of(bill, mark, whole) for mark in marks]
    assert ends == sorted(ends)
    assert ends[-1] == bill
    assert ends[0] == 0
