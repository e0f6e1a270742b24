"""Whether a job may start, and when its spending is told to somebody. Pure: values in, values out.

The high end of an estimate decides: a job may be stopped only at 1.25 x of it, so a gate that
looked at the likely cost would let the month's budget be passed. Months are UTC months.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Literal

from brightrun.costs import CostRange, Estimate, hard_limit
from brightrun.jobs import Confirm
from brightrun.money import shown
from brightrun.settings import Settings

Action = Literal["pass", "confirm", "approve"]


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A month in dollars. committed: still to be spent by jobs that wait or run."""

    month: str
    limit: Decimal
    spent: Decimal
    committed: Decimal

    @property
    def left(self) -> Decimal:
        """What a new job may still cost; negative when the month is overdrawn."""
        return self.limit - self.spent - self.committed

    def as_json(self) -> dict[str, Any]:
        """{month, limit, spent, committed, left} in dollars."""
        money = {k: float(getattr(self, k)) for k in ("limit", "spent", "committed", "left")}
        return {"month": self.month, **money}


@dataclass(frozen=True, slots=True)
class ClientSpending:
    """A client's part of a month in dollars; "" = jobs without a client."""

    client: str
    spent: Decimal
    committed: Decimal

    def as_json(self) -> dict[str, Any]:
        money = {"spent": float(self.spent), "committed": float(self.committed)}
        return {"client": self.client, **money}


@dataclass(frozen=True, slots=True)
class Limits:
    """Dollars above which a job's high estimate warns, or needs an approval."""

    warn_above: Decimal
    approve_above: Decimal

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(settings.warn_above_usd, settings.approve_above_usd)


@dataclass(frozen=True, slots=True)
class GateDecision:
    """action: go on, ask "yes?", or wait for an approval row. reasons say why it is not `pass`."""

    action: Action
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    hard_limit_usd: Decimal
    over_budget: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "hard_limit_usd": float(self.hard_limit_usd),
            "over_budget": self.over_budget,
        }


def gate(
    cost: CostRange,
    limits: Limits,
    state: BudgetState,
    *,
    confirm: Confirm,
    usd_per_hour: Decimal = Decimal(0),
    override: bool = False,
) -> GateDecision:
    """What must happen before this job may spend money; usd_per_hour: see `costs.hard_limit`.

    override: an approval said that the month's budget may be passed; it is a warning then, and
    the hard limit is no longer held inside the budget. Above approve_above an approval is needed
    in any case: `admits` tells whether a given one is enough.
    """
    high, left = cost.high, state.left
    reasons, warnings = [], []
    over_budget = high > left
    said = f"may cost ${high:,.2f} (likely ${cost.likely:,.2f})"
    budget = (
        f"{said}, but ${max(Decimal(0), left):,.2f} of the {state.month} budget of "
        f"${state.limit:,.2f} is left (spent ${state.spent:,.2f}, "
        f"committed ${state.committed:,.2f})"
    )
    if high > limits.approve_above:
        reasons.append(f"{said}: above ${limits.approve_above:,.2f} an approval is needed")
    elif high > limits.warn_above:
        warnings.append(f"{said}: above ${limits.warn_above:,.2f}")
    if over_budget and override:
        warnings.append(f"{budget}; the budget is overridden")
    elif over_budget:
        reasons.append(f"{budget}: an approval that overrides the budget is needed")
    action: Action = "approve" if reasons else "pass"
    if action == "pass" and confirm is Confirm.always:
        action = "confirm"
        reasons.append("started by a person: shown and confirmed before anything is spent")
    held = None if override else left
    return GateDecision(
        action, tuple(reasons), tuple(warnings), hard_limit(high, held, usd_per_hour), over_budget
    )


def foreseen(found: Estimate, settings: Settings, state: BudgetState) -> dict[str, Any]:
    """The month, and what the gate would say to a job that a person starts now."""
    limits, usd_per_hour = Limits.of(settings), found.price.usd_per_hour
    decision = gate(
        found.cost_usd, limits, state, confirm=Confirm.always, usd_per_hour=usd_per_hour
    )
    return {**state.as_json(), "gate": decision.as_json()}


def unspent(settings: Settings, now: datetime) -> BudgetState:
    """The month of a home that has no ledger yet."""
    return BudgetState(month_name(now), settings.month_budget_usd, Decimal(0), Decimal(0))


def admits(decision: GateDecision, *, approved: bool, override_budget: bool) -> tuple[str, ...]:
    """Why a given approval does not open this gate; empty = it does."""
    if not approved:
        return ("it was rejected",)
    if decision.over_budget and not override_budget:
        return ("the month's budget would be passed and the approval does not override it",)
    return ()


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold that has been reached. stops: the job saves a checkpoint and ends by itself."""

    threshold: str
    message: str
    stops: bool = False


def cost_alerts(
    spent: Decimal, likely: Decimal, hard_limit_usd: Decimal | None
) -> tuple[Alert, ...]:
    """Thresholds of a job that its cost so far has reached: 80 %, 95 %, +20 %, hard limit."""
    found = []
    for share, threshold in ((80, "80"), (95, "95"), (120, "over_20")):
        if likely > 0 and spent * 100 >= likely * share:
            found.append(
                Alert(
                    threshold,
                    f"{shown(spent)} spent: {share} % of the estimated {shown(likely)} passed",
                )
            )
    if hard_limit_usd is not None and spent >= hard_limit_usd:
        text = f"{shown(spent)} spent: the hard limit of {shown(hard_limit_usd)} is reached"
        found.append(Alert("hard_limit", text, stops=True))
    return tuple(found)


def channels(alert: Alert) -> tuple[str, ...]:
    """Who hears of it: 80 % goes by email, everything above also to Slack."""
    return ("email",) if alert.threshold == "80" else ("email", "slack")


def month_alerts(state: BudgetState) -> tuple[Alert, ...]:
    """Thresholds of the month that the money spent has reached: 80 %, 95 %."""
    return tuple(
        Alert(
            f"{share}",
            f"${state.spent:,.2f} spent in {state.month}: {share} % of ${state.limit:,.2f} passed, "
            f"${max(Decimal(0), state.limit - state.spent):,.2f} left",
        )
        for share in (80, 95)
        if state.limit > 0 and state.spent * 100 >= state.limit * share
    )


def month_stop(state: BudgetState) -> Alert | None:
    """The month's budget is used up: jobs that run are stopped, but for those that override it."""
    if state.spent <= 0 or state.spent < state.limit:
        return None
    text = f"{shown(state.spent)} spent in {state.month}: the limit of {shown(state.limit)}"
    return Alert("month_limit", f"{text} is reached", stops=True)


def month_name(now: datetime, tz: tzinfo = UTC) -> str:
    """ "2026-11" of a moment in a time zone."""
    return f"{now.astimezone(tz):%Y-%m}"


def moment_in(month: str, now: datetime) -> datetime:
    """A moment of the month "2026-11": now, or its last second when it is another month.

    ValueError: not a month.
    """
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    return now if month_name(now) == month else month_bounds(first)[1] - timedelta(seconds=1)


def month_bounds(now: datetime, tz: tzinfo = UTC) -> tuple[datetime, datetime]:
    """First moment of the month of `now`, and of the next one, both in UTC."""
    first = now.astimezone(tz).replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
    return first.astimezone(UTC), first.replace(year=year, month=month).astimezone(UTC)
