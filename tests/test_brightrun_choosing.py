"""Recovery on rented machines: where the next pod runs, when, and when no more is rented."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brightrun.jobs import Market
from brightrun.markets import MarketState
from brightrun.outcomes import NEVER_BOOTED, NEVER_STARTED
from brightrun.recovery import next_action
from brightrun.situation import Action, Past, Place, Policy, Situation

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPOT = MarketState(market=Market.spot, usd_per_hour=Decimal("2.49"), interruptions_per_hour=0.2)
DEMAND = MarketState(
    market=Market.on_demand, usd_per_hour=Decimal("7.99"), interruptions_per_hour=0.005
)
RENTED = Situation(
    now=NOW,
    wish=Market.spot,
    markets=(SPOT, DEMAND),
    remaining_hours=10,
    overhead_hours=0.25,
    limit=Decimal(200),
)


def past(attempt: int, reason: str = "preempted", **facts: Any) -> Past:
    usual = {"outcome": "lost", "progress": 1, "market": Market.spot, "ended": NOW}
    return Past.model_validate({"attempt": attempt, "reason": reason, **usual, **facts})


def act(history: list[Past], policy: Policy | None = None, **facts: Any) -> Action:
    return next_action(history, policy or Policy(), RENTED.model_copy(update=facts))


def losses(number: int, **facts: Any) -> list[Past]:
    return [past(n, **facts) for n in range(1, number + 1)]


def test_the_first_pod_is_rented_where_it_was_wished() -> None:
    assert act([]).market == Market.spot
    assert act([], wish=Market.on_demand).market == Market.on_demand
    assert act([], wish=None).market == Market.spot


NEAR = DEMAND.model_copy(update={"usd_per_hour": Decimal("2.89")})


def test_a_market_is_left_after_so_many_interruptions_when_peace_costs_little() -> None:
    markets = (SPOT, NEAR)
    assert act(losses(2), markets=markets).market == Market.spot
    switched = act(losses(3), markets=markets)
    assert switched.market == Market.on_demand
    assert "3 interruptions on spot" in switched.why
    stays = [*losses(3), past(4, market=Market.on_demand)]
    assert act(stays, markets=markets).market == Market.on_demand


def test_a_much_dearer_market_is_the_last_resort() -> None:
    assert act(losses(9)).market == Market.spot
    assert act(losses(10)).market == Market.on_demand


def test_a_persons_later_wish_starts_the_count_anew() -> None:
    history = [*losses(3), past(4, "switch", outcome="stopped", market=Market.on_demand)]
    back = act(history, markets=(SPOT, NEAR), wish=Market.spot, wish_after=4)
    assert back.market == Market.spot


def test_a_market_that_costs_more_in_expectation_is_left_at_once() -> None:
    dear = SPOT.model_copy(update={"usd_per_hour": Decimal("7.90")})
    action = act(losses(1), markets=(dear, DEMAND))
    assert action.market == Market.on_demand
    assert "would cost" in action.why
    assert act(losses(1)).market == Market.spot


def test_no_market_that_the_limit_does_not_pay_for() -> None:
    assert act(losses(12), limit=Decimal(50)).market == Market.spot
    stopped = act(losses(1), limit=Decimal(30), spent=Decimal(20))
    assert (stopped.do, stopped.over_limit) == ("give_up", True)
    assert "$10.00 of the limit is left" in stopped.why


def test_a_market_that_is_withdrawn_is_replaced() -> None:
    gone = SPOT.model_copy(update={"offered": False})
    assert act(losses(1), markets=(gone, DEMAND)).market == Market.on_demand
    nothing = act(losses(1), markets=(gone,))
    assert (nothing.do, nothing.wait_s) == ("wait", Policy().longest_wait_s)
    assert act([], markets=(gone,)).do == "give_up"


def test_where_it_failed_is_tried_last_for_a_while() -> None:
    long_ago = NOW - timedelta(hours=99)
    history = [
        past(1, data_center="EU-1", gpu="H100"),
        past(2, NEVER_BOOTED, data_center="US-2"),
        past(3, data_center="EU-1", gpu="H100"),
        past(4, data_center="AP-9", ended=long_ago),
    ]
    avoid = act(history, Policy(max_attempts=9)).avoid
    lost = Place(data_center="EU-1", gpu="H100", at=NOW)
    assert avoid == (lost, Place(data_center="US-2", at=NOW, mute=True), lost)


# --- faults of the trainer, of the image, of nobody ---------------------------------------------
def test_where_pods_are_taken_away_often_a_trainer_is_blamed_later() -> None:
    """At 0.2 an hour two pods in a row show nothing new by chance in 1 of 400 cases."""
    assert act(losses(2, progress=0)).do == "launch"
    assert act(losses(3, progress=0)).do == "give_up"
    steady = [past(n, progress=0, market=Market.on_demand) for n in (1, 2)]
    assert "fault of the trainer" in act(steady).why


def test_pods_that_never_boot_are_not_the_trainers_fault_and_end_too() -> None:
    policy = Policy(max_attempts=9, boot_failures=4)
    mute = [past(n, NEVER_BOOTED, progress=0) for n in range(1, 5)]
    assert act(mute[:3], policy).do == "launch"
    assert "image or the provider" in act(mute, policy).why


def failed(reason: str, **facts: Any) -> Past:
    return past(1, reason, outcome="failed", **facts)


def test_an_out_of_memory_is_retried_once_with_its_adjustment() -> None:
    smaller = {"micro_batch": 1}
    first = failed("out_of_memory", suggested=smaller)
    assert (act([first]).do, act([first]).adjustment) == ("launch", smaller)
    again = first.model_copy(update={"attempt": 2})
    assert act([first, again]).do == "fail"
    assert act([failed("out_of_memory")]).do == "fail"
    assert act([first], stop="cancel").do == "cancelled"
    assert act([first], Policy(oom_retries=0)).do == "fail"


def test_the_adjustment_stays_with_the_job_when_its_pod_is_lost() -> None:
    first = failed("out_of_memory", suggested={"micro_batch": 1})
    taken = past(2)
    assert act([first, taken]).adjustment == {"micro_batch": 1}
    assert act([first, taken, missed(3, 99)]).adjustment == {"micro_batch": 1}


def test_a_pause_keeps_the_job_and_rents_nothing() -> None:
    assert act(losses(1), stop="pause").do == "paused"
    assert act([past(1, "pause", outcome="stopped")]).do == "paused"


# --- no free machine ---------------------------------------------------------------------------
def missed(number: int, seconds: float = 0.0, market: Market = Market.spot) -> Past:
    ended = NOW - timedelta(seconds=seconds)
    return past(number, NEVER_STARTED, progress=0, ended=ended, market=market)


def test_a_miss_is_waited_out_in_doubling_pauses() -> None:
    assert (act([missed(1)]).do, act([missed(1)]).wait_s) == ("wait", 30)
    assert act([missed(1, 10)]).wait_s == 20
    assert act([missed(1, 30)]).do == "launch"
    assert act([missed(1, 40), missed(2)]).wait_s == 60
    assert act([missed(n) for n in range(1, 40)]).wait_s == 900


def test_misses_cost_no_attempt_and_the_wait_has_an_end() -> None:
    many = [missed(n, 3600 - n) for n in range(1, 90)]
    assert act(many, Policy(max_attempts=2)).do == "launch"
    over = [missed(1, 25 * 3600), missed(2)]
    assert "no machine was to be had for 25.0 hours" in act(over).why
    assert act([missed(1)], Policy(capacity_hours=0)).do == "give_up"


def test_another_market_is_tried_while_this_one_is_empty() -> None:
    empty, markets = [missed(n, 900) for n in (1, 2, 3)], (SPOT, NEAR)
    assert act(empty[:2], markets=markets).market == Market.spot
    assert act(empty, markets=markets).market == Market.on_demand
    both = [*empty, *(missed(n, 900, Market.on_demand) for n in (4, 5, 6))]
    assert act(both, markets=markets).market == Market.spot


def test_a_much_dearer_one_only_after_hours_without_any() -> None:
    assert act([missed(n, 21000) for n in range(1, 9)]).market == Market.spot
    assert act([missed(n, 22000) for n in range(1, 9)]).market == Market.on_demand


# --- whatever happens --------------------------------------------------------------------------
OUTCOMES = st.sampled_from(
    [("lost", "preempted"), ("lost", NEVER_BOOTED), ("lost", NEVER_STARTED), ("lost", ""),
     ("failed", "out_of_memory"), ("failed", "dataset"), ("failed", "trainer"), ("done", ""),
     ("stopped", "cancel"), ("stopped", "budget"), ("stopped", "lease"), ("stopped", "sigterm"),
     ("stopped", "switch"), ("stopped", "pause")]
)  # fmt: skip


class Job(RuleBasedStateMachine):
    """A job whose pods end in every way; what recovery says is obeyed, time passes, money goes."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Past] = []
        self.adjusted: list[bool] = []
        self.now, self.spent, self.stop, self.waited = NOW, Decimal(0), "", 0.0
        self.offered = {Market.spot: True, Market.on_demand: True}
        self.policy = Policy(max_attempts=8, capacity_hours=3)

    @property
    def action(self) -> Action:
        markets = tuple(
            state.model_copy(update={"offered": self.offered[state.market]})
            for state in (SPOT, DEMAND)
        )
        facts = {"now": self.now, "spent": self.spent, "stop": self.stop, "markets": markets}
        return next_action(self.history, self.policy, RENTED.model_copy(update=facts))

    @precondition(lambda self: self.action.do == "launch")
    @rule(
        how=OUTCOMES,
        progress=st.integers(0, 2),
        hours=st.floats(0, 6),
        suggests=st.booleans(),
    )
    def pod(self, how: tuple[str, str], progress: int, hours: float, suggests: bool) -> None:
        action, lived = self.action, 0.0 if how[1] == NEVER_STARTED else hours
        self.now += timedelta(hours=lived)
        price = DEMAND if action.market == Market.on_demand else SPOT
        self.spent += price.usd_per_hour * Decimal(str(round(lived, 6)))
        self.history.append(
            past(
                len(self.history) + 1,
                how[1],
                outcome=how[0],
                progress=progress,
                market=action.market,
                ended=self.now,
                suggested={"micro_batch": 1} if suggests and how[0] == "failed" else {},
            )
        )
        self.adjusted.append(bool(action.adjustment))

    @precondition(lambda self: self.action.do == "wait")
    @rule()
    def wait(self) -> None:
        pause = self.action.wait_s
        assert 0 < pause <= self.policy.longest_wait_s
        self.now += timedelta(seconds=pause)

    @rule(market=st.sampled_from(Market), there=st.booleans())
    def market_changes(self, market: Market, there: bool) -> None:
        self.offered[market] = there

    @rule(reason=st.sampled_from(["", "cancel", "budget", "pause", "switch"]))
    def asked_to_stop(self, reason: str) -> None:
        self.stop = reason

    @invariant()
    def nothing_is_rented_after_the_end(self) -> None:
        do, last = self.action.do, self.history[-1] if self.history else None
        if self.stop in ("cancel", "budget", "pause"):
            assert do not in ("launch", "wait")
        if last is not None and last.outcome == "done":
            assert do == "finished"
        if last is not None and last.reason in ("dataset", "trainer"):
            assert do == "fail"
        if last is not None and last.reason in ("cancel", "budget"):
            assert do == "cancelled"

    @invariant()
    def pods_money_and_adjustments_are_bounded(self) -> None:
        pods = [p for p in self.history if not p.missed]
        assert len(pods) <= self.policy.max_attempts
        failures = [p for p in self.history if p.outcome == "failed"]
        assert len(failures) <= 1 + self.policy.oom_retries
        assert all(self.adjusted[failures[0].attempt :] if failures else ())
        assert RENTED.limit is not None
        if self.action.do == "launch":
            assert self.spent < RENTED.limit
            market = self.action.market
            assert market is not None
            assert self.offered[market]

    @invariant()
    def every_action_says_why(self) -> None:
        assert self.action.why


TestJob = Job.TestCase
TestJob.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@given(how=OUTCOMES, hours=st.floats(0, 3), progress=st.integers(0, 1))
@settings(max_examples=60, deadline=None)
def test_recovery_always_comes_to_an_end(how: tuple[str, str], hours: float, progress: int) -> None:
    """The same thing happening for ever ends after finitely many steps, also with free pods."""
    history: list[Past] = []
    now = NOW
    for _ in range(400):
        free = {"now": now, "limit": None}
        action = next_action(history, Policy(), RENTED.model_copy(update=free))
        if action.do == "wait":
            now += timedelta(seconds=action.wait_s)
        elif action.do == "launch":
            now += timedelta(hours=0 if how[1] == NEVER_STARTED else hours)
            facts = {"outcome": how[0], "progress": progress, "market": action.market, "ended": now}
            history.append(past(len(history) + 1, how[1], **facts))
        else:
            return
    raise AssertionError(f"still going on after {len(history)} attempts of {how}")
