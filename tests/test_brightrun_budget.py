"""The gate and its alerts: what may start, what is told."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brightrun.budget import (
    BudgetState,
    Limits,
    admits,
    cost_alerts,
    gate,
    moment_in,
    month_alerts,
    month_bounds,
    month_name,
    month_stop,
)
from brightrun.costrange import CostRange
from brightrun.jobs import Confirm
from brightrun.settings import Settings

LIMITS = Limits(Decimal(100), Decimal(150))
FREE = BudgetState("2026-11", Decimal(500), Decimal(0), Decimal(0))
TIGHT = BudgetState("2026-11", Decimal(500), Decimal(400), Decimal(60))
STRENGTH = {"pass": 0, "confirm": 1, "approve": 2}
money = st.decimals(0, 1000, places=2)


def cost(high: float | str | Decimal) -> CostRange:
    top = Decimal(str(high))
    return CostRange(top / 4, top / 2, top)


def test_a_cheap_scheduled_job_passes_and_a_persons_is_confirmed() -> None:
    scheduled = gate(cost(20), LIMITS, FREE, confirm=Confirm.above_limits)
    assert (scheduled.action, scheduled.reasons, scheduled.warnings) == ("pass", (), ())
    assert scheduled.hard_limit_usd == 25
    typed = gate(cost(20), LIMITS, FREE, confirm=Confirm.always)
    assert typed.action == "confirm"
    assert typed.reasons


@pytest.mark.parametrize(
    ("high", "action", "warned"),
    [(100, "pass", False), (100.01, "pass", True), (150, "pass", True), (150.01, "approve", False)],
)
def test_limits_are_passed_only_above_them(high: float, action: str, warned: bool) -> None:
    decision = gate(cost(high), LIMITS, FREE, confirm=Confirm.above_limits)
    assert decision.action == action
    assert bool(decision.warnings) is warned
    assert bool(decision.reasons) is (action == "approve")


def test_the_months_budget_needs_an_approval_that_overrides_it() -> None:
    decision = gate(cost(50), LIMITS, TIGHT, confirm=Confirm.above_limits)
    assert decision.action == "approve"
    assert decision.over_budget
    assert "$40.00 of the 2026-11 budget of $500.00 is left" in decision.reasons[0]
    assert decision.hard_limit_usd == 40
    assert admits(decision, approved=True, override_budget=False)
    assert admits(decision, approved=False, override_budget=True)
    assert admits(decision, approved=True, override_budget=True) == ()

    freed = gate(cost(50), LIMITS, TIGHT, confirm=Confirm.above_limits, override=True)
    assert (freed.action, freed.reasons) == ("approve", ())
    assert "overridden" in freed.warnings[0]
    assert freed.hard_limit_usd == Decimal("62.5")


def test_an_override_of_the_budget_is_no_approval_above_the_limit() -> None:
    decision = gate(cost(200), LIMITS, TIGHT, confirm=Confirm.above_limits, override=True)
    assert decision.action == "approve"
    assert len(decision.reasons) == 1
    assert admits(decision, approved=True, override_budget=True) == ()


def test_an_approval_alone_opens_a_gate_inside_the_budget() -> None:
    decision = gate(cost(200), LIMITS, FREE, confirm=Confirm.always)
    assert decision.action == "approve"
    assert admits(decision, approved=True, override_budget=False) == ()


def test_an_overdrawn_month_has_nothing_left_to_spend() -> None:
    broke = BudgetState("2026-11", Decimal(500), Decimal(520), Decimal(0))
    decision = gate(cost("0.01"), LIMITS, broke, confirm=Confirm.above_limits)
    assert decision.action == "approve"
    assert decision.hard_limit_usd == 0


@given(
    highs=st.tuples(money, money),
    budgets=st.tuples(money, money, money),
    confirm=st.sampled_from(Confirm),
    override=st.booleans(),
)
def test_a_dearer_job_never_passes_more_easily(
    highs: tuple[Decimal, Decimal],
    budgets: tuple[Decimal, Decimal, Decimal],
    confirm: Confirm,
    override: bool,
) -> None:
    state = BudgetState("2026-11", *budgets)
    cheap, dear = (
        gate(cost(high), LIMITS, state, confirm=confirm, override=override)
        for high in sorted(highs)
    )
    assert STRENGTH[cheap.action] <= STRENGTH[dear.action]
    assert cheap.over_budget <= dear.over_budget
    assert cheap.hard_limit_usd <= dear.hard_limit_usd


@given(high=money, budgets=st.tuples(money, money, money), more=money)
def test_less_budget_and_less_trust_never_open_the_gate(
    high: Decimal, budgets: tuple[Decimal, Decimal, Decimal], more: Decimal
) -> None:
    limit, spent, committed = budgets
    rich = BudgetState("2026-11", limit, spent, committed)
    poor = BudgetState("2026-11", limit, spent + more, committed)
    free, tight = (
        gate(cost(high), LIMITS, state, confirm=Confirm.above_limits) for state in (rich, poor)
    )
    asked = gate(cost(high), LIMITS, rich, confirm=Confirm.always)
    assert STRENGTH[free.action] <= STRENGTH[tight.action]
    assert STRENGTH[free.action] <= STRENGTH[asked.action]
    if free.action == "pass":
        assert high <= rich.left
        assert free.hard_limit_usd <= rich.left


def test_the_defaults_are_the_users_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Limits.of(Settings()) == LIMITS


@pytest.mark.parametrize(
    ("spent", "told"),
    [
        ("7.99", []),
        ("8", ["80"]),
        ("9.5", ["80", "95"]),
        ("12", ["80", "95", "over_20"]),
        ("15", ["80", "95", "over_20", "hard_limit"]),
    ],
)
def test_a_jobs_alerts_come_at_their_thresholds(spent: str, told: list[str]) -> None:
    alerts = cost_alerts(Decimal(spent), Decimal(10), Decimal(15))
    assert [a.threshold for a in alerts] == told
    assert [a.threshold for a in alerts if a.stops] == [t for t in told if t == "hard_limit"]


def test_small_sums_are_told_with_their_digits() -> None:
    first = cost_alerts(Decimal("0.0041"), Decimal("0.005"), None)[0]
    assert first.message == "$0.0041 spent: 80 % of the estimated $0.0050 passed"


def test_without_estimate_or_limit_there_is_nothing_to_alert() -> None:
    assert cost_alerts(Decimal(5), Decimal(0), None) == ()


def test_a_months_alerts_tell_what_is_left() -> None:
    def spent(usd: str) -> BudgetState:
        return BudgetState("2026-11", Decimal(500), Decimal(usd), Decimal(100))

    assert month_alerts(spent("399.99")) == ()
    assert [a.threshold for a in month_alerts(spent("400"))] == ["80"]
    both = month_alerts(spent("480"))
    assert [a.threshold for a in both] == ["80", "95"]
    assert "$20.00 left" in both[1].message


def test_months_end_where_the_calendar_says_also_with_daylight_saving() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, after = month_bounds(datetime(2026, 3, 31, 23, 30, tzinfo=UTC), berlin)
    assert (first, after) == (
        datetime(2026, 3, 31, 22, tzinfo=UTC),
        datetime(2026, 4, 30, 22, tzinfo=UTC),
    )
    march = month_bounds(datetime(2026, 3, 10, tzinfo=UTC), berlin)
    assert march == (datetime(2026, 2, 28, 23, tzinfo=UTC), first)
    assert month_bounds(datetime(2026, 12, 5, tzinfo=UTC))[1] == datetime(2027, 1, 1, tzinfo=UTC)
    assert month_name(datetime(2026, 10, 31, 23, 30, tzinfo=UTC), berlin) == "2026-11"


@pytest.mark.parametrize(
    ("limit", "spent", "stops"),
    [
        (500, "499.99", False),
        (500, "500", True),
        (500, "501", True),
        (0, "0", False),
        (0, "1", True),
    ],
)
def test_a_used_up_month_stops_its_jobs(limit: int, spent: str, stops: bool) -> None:
    found = month_stop(BudgetState("2026-11", Decimal(limit), Decimal(spent), Decimal(0)))
    assert (found is not None) is stops
    assert found is None or found.stops


def test_another_month_is_looked_at_from_its_end() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert moment_in("2026-11", now) == now
    assert moment_in("2026-02", now) == datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
    with pytest.raises(ValueError):
        moment_in("November", now)
