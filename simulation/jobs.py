"""One job from its estimate to its end, driven by the real `next_action`.

`brightrun` decides, `simulation.world` happens; the books are kept with the ledger's own rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from brightrun.compute.runpod.client import SETTLE_PAUSES
from brightrun.costs import Estimate
from brightrun.jobs import Market
from brightrun.markets import MarketState, Rate
from brightrun.money import rental, to_micro, to_usd
from brightrun.outcomes import NEVER_BOOTED, NEVER_STARTED
from brightrun.recovery import PAUSES_AFTER_LOSS, next_action
from brightrun.situation import Action, Past, Policy, Situation
from simulation import forecasts, orphans
from simulation.pods import Life, Work, live
from simulation.world import EPOCH, HOUR, Scenario, World, price_of

REASONS = {"lost": "preempted", "unbooted": NEVER_BOOTED, "limit": "budget"}
FOUND_AGAIN = sum(SETTLE_PAUSES)  # so long is a pod looked for by name after a doubtful create
TROUBLE = "out_of_memory"


@dataclass(slots=True)
class Resume:
    """From a loss to the next first step: seconds, and those that were the provider's boots."""

    since: float
    boots: float = 0.0
    whole: float = 0.0

    @property
    def ours(self) -> float:
        return self.whole - self.boots


@dataclass(slots=True)
class Ran:
    """What became of a job. Hours from its start; dollars."""

    end: str
    why: str
    hours: float
    work_hours: float
    cost: Decimal
    likely: Decimal
    losses: dict[Market, int]
    exposed: dict[Market, float]
    waited: float
    switched: bool
    leaked: int
    resumes: list[Resume] = field(default_factory=list)

    @property
    def success(self) -> bool:
        """Completed with its adapter, within its limit, untouched by a person."""
        return self.end == "finished"

    @property
    def within(self) -> bool:
        """Cost within 15 % of the likely estimate; a job that failed is not."""
        return self.success and abs(self.cost - self.likely) <= self.likely * Decimal("0.15")


class Job:
    """The state of one simulated job; `run()` brings it to its end."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        policy: Policy,
        rates: Mapping[Market, Rate],
        wish: Market = Market.spot,
        interval: float | None = None,
    ) -> None:
        self.world, self.policy, self.rates, self.wish = World(scenario, seed), policy, rates, wish
        self.estimate = forecasts.forecast(self.world.hours(), wish, rates)
        self.pace = self.world.pace()
        self.work = work_of(self.estimate, self.pace, interval)
        self.broken_memory = self.world.happens("oom", "share")
        self.now, self.micro, self.waited = 0.0, 0, 0.0
        self.history: list[Past] = []
        self.losses, self.exposed = dict.fromkeys(Market, 0), dict.fromkeys(Market, 0.0)
        self.open: list[Resume] = []
        self.resumes: list[Resume] = []
        self.leaked = 0

    def run(self) -> Ran:
        while True:
            action = next_action(self.history, self.policy, self.situation())
            if action.do == "wait":
                self.waits(action.wait_s)
            elif action.do == "launch":
                self.launch(action)
            else:
                return self.ended(action)

    @property
    def spent(self) -> Decimal:
        return to_usd(self.micro)

    @property
    def moment(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now)

    def situation(self) -> Situation:
        parts = {name: part.likely for name, part in self.estimate.parts.items()}
        known = self.pace if self.work.reached > 0 else 1.0
        left = (parts["training"] + parts["saving"] + parts["measuring"]) * self.work.share_left
        start = parts["boot"] + parts["model_loading"] + parts["preprocessing"]
        seconds = start + left * known + parts["finalization"]
        return Situation(
            now=self.moment,
            wish=self.wish,
            markets=tuple(state_of(market, self.rates) for market in Market),
            remaining_hours=seconds / HOUR,
            overhead_hours=self.estimate.interruption.likely / HOUR,
            spent=self.spent,
            limit=self.estimate.hard_limit_usd,
        )

    def waits(self, seconds: float) -> None:
        self.now += seconds
        self.waited += seconds

    def launch(self, action: Action) -> None:
        market = action.market or self.wish
        center = self.world.place(action.avoid)
        if not self.world.free(market, self.now):
            self.remember("lost", NEVER_STARTED, market, "")
            return
        if self.world.happens("create", "doubtful") and not self.found_again(market):
            self.remember("lost", NEVER_STARTED, market, center)
            return
        adjusted = bool(action.adjustment)
        left = (self.estimate.hard_limit_usd - self.spent) / price_of(market)
        bad = center in self.world.bad
        life = live(self.world, self.work, market, bad, float(left) * HOUR, self.fails(adjusted))
        self.pod_ended(life, market, center)

    def fails(self, adjusted: bool) -> bool:
        """An out-of-memory that the pod cannot mend by itself."""
        return self.broken_memory and not adjusted

    def found_again(self, market: Market) -> bool:
        """Whether a pod whose create call timed out shows up in time; else it is an orphan."""
        appears = self.world.luck.expovariate(1 / self.world.facts["create"]["appears_within"])
        self.now += min(appears, FOUND_AGAIN)
        if appears <= FOUND_AGAIN:
            return True
        alive = orphans.sweep(self.world, self.moment)
        self.leaked += alive is None
        self.bill(market, alive or 0.0)
        self.now += orphans.ending(self.world, listed=False).sure
        return False

    def pod_ended(self, life: Life, market: Market, center: str) -> None:
        began = self.now
        for resume in self.open:
            resume.boots += life.boot
        if life.first_step is not None:
            for resume in self.open:
                resume.whole = began + life.first_step - resume.since
            self.resumes += self.open
            self.open = []
        self.exposed[market] += life.lasted / HOUR
        self.now = began + life.noticed
        outcome, reason = "lost", REASONS.get(life.end, "")
        if life.end == "done":
            outcome = "done"
        elif life.end == "failed":
            outcome, reason = "failed", TROUBLE
        elif life.end == "limit":
            outcome = "stopped"
        elif life.end == "lost":
            self.losses[market] += 1
            self.open.append(Resume(since=began + life.lasted))
        gone = orphans.ending(self.world, listed=life.silent)
        self.bill(market, life.noticed + gone.absent if life.silent else life.lasted)
        self.remember(outcome, reason, market, center, life.progress)
        self.now += gone.sure
        if outcome == "lost":
            lost = sum(past.outcome == "lost" and not past.missed for past in self.history)
            self.now += PAUSES_AFTER_LOSS[min(lost, len(PAUSES_AFTER_LOSS)) - 1]

    def bill(self, market: Market, seconds: float) -> None:
        self.micro += rental(to_micro(price_of(market)), round(seconds * 1e6))

    def remember(
        self,
        outcome: str,
        reason: str,
        market: Market,
        center: str,
        progress: bool = False,
    ) -> None:
        self.history.append(
            Past.model_validate(
                {
                    "attempt": len(self.history) + 1,
                    "outcome": outcome,
                    "reason": reason,
                    "progress": int(progress),
                    "market": market,
                    "data_center": center,
                    "ended": self.moment,
                    "suggested": {"micro_batch": 1} if reason == TROUBLE else {},
                }
            )
        )

    def ended(self, action: Action) -> Ran:
        markets = {past.market for past in self.history if not past.missed}
        return Ran(
            end=action.do,
            why=action.why,
            hours=self.now / HOUR,
            work_hours=(self.work.training + self.work.measuring) / HOUR,
            cost=self.spent,
            likely=self.estimate.cost_usd.likely,
            losses=self.losses,
            exposed=self.exposed,
            waited=self.waited / HOUR,
            switched=len(markets) > 1,
            leaked=self.leaked,
            resumes=self.resumes,
        )


def work_of(found: Estimate, pace: float, interval: float | None) -> Work:
    """The job's real work. interval: seconds between checkpoints, None: as the estimate has it."""
    training = found.parts["training"].likely
    every = training / found.steps * found.checkpoint_every if interval is None else interval
    return Work(training * pace, found.parts["measuring"].likely * pace, every)


def state_of(market: Market, rates: Mapping[Market, Rate]) -> MarketState:
    """What the pipeline believes of a market."""
    return MarketState(
        market=market,
        usd_per_hour=price_of(market),
        interruptions_per_hour=rates[market].per_hour.likely,
    )
