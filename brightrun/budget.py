"""Whether a job may start, and when its spending is told to somebody. Pure: values in, values out.

The high end of an estimate decides: a job may be stopped only above it, so a gate that looked at
the likely cost would let the month's budget be passed. What is held for a job that passes
is its hard limit: what is spent and held together never exceeds a month, unless overridden. Months
are those of a time zone (BRIGHTRUN_TIME_ZONE).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Literal

from brightrun.costrange import CostRange, hard_limit
from brightrun.costs import Estimate
from brightrun.jobs import Confirm
from brightrun.money import shown
from brightrun.settings import Settings

Action = Literal["pass", "confirm", "approve"]


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A month in dollars, of all jobs or of one client's.

    committed: held for jobs that passed their gate and are not over, less what they have spent;
    waiting: high estimates of jobs before their gate, which hold nothing yet.
    """

    month: str
    limit: Decimal
    spent: Decimal
    committed: Decimal
    waiting: Decimal = Decimal(0)
    client: str = ""

    @property
    def left(self) -> Decimal:
        """What a new job may still cost; negative when the month is overdrawn."""
        return self.limit - self.spent - self.committed

    @property
    def name(self) -> str:
        """ "2026-11 budget", or whose."""
        whose = f" of {self.client}" if self.client else ""
        return f"{self.month} budget{whose}"

    def as_json(self) -> dict[str, Any]:
        """{month, client, limit, spent, committed, left, waiting} in dollars."""
        names = ("limit", "spent", "committed", "left", "waiting")
        money = {name: float(getattr(self, name)) for name in names}
        return {"month": self.month, "client": self.client, **money}


@dataclass(frozen=True, slots=True)
class ClientSpending:
    """A client's part of a month in dollars; "" = jobs without one. limit: None: none is set."""

    client: str
    spent: Decimal
    committed: Decimal
    limit: Decimal | None = None

    def as_json(self) -> dict[str, Any]:
        money = {"spent": float(self.spent), "committed": float(self.committed)}
        limit = None if self.limit is None else float(self.limit)
        return {"client": self.client, "limit": limit, **money}


@dataclass(frozen=True, slots=True)
class Threshold:
    """An amount, or a multiple of what such jobs usually cost; the lower one when both are set."""

    usd: Decimal | None = None
    times: float | None = None

    def dollars(self, usual: Decimal | None, default: Decimal) -> Decimal:
        """usual: None where too few jobs are finished to say; default: when nothing is set."""
        found = [] if self.usd is None else [self.usd]
        if self.times is not None and usual is not None:
            found.append((usual * Decimal(str(self.times))).quantize(Decimal("0.01")))
        return min(found, default=default)

    def __str__(self) -> str:
        parts = [f"${self.usd:,.2f}"] if self.usd is not None else []
        parts += [f"{self.times:g} x the usual cost"] if self.times is not None else []
        return " or ".join(parts) or "the default"


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
    high_usd: Decimal = Decimal(0)

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
    client: BudgetState | None = None,
) -> GateDecision:
    """What must happen before this job may spend money; usd_per_hour: see `hard_limit`.

    client: the month of the job's client, where that one has a budget of its own; both must hold.
    override: an approval said that the month's budget may be passed; it is a warning then, and
    the hard limit is no longer held inside the budget. Above approve_above or beyond a month an
    approval is needed in any case: `admits` tells whether a given one is enough.
    """
    months = [state] if client is None else [state, client]
    high, left = cost.high, min(month.left for month in months)
    reasons, warnings = [], []
    said = f"may cost ${high:,.2f} (likely ${cost.likely:,.2f})"
    if high > limits.approve_above:
        reasons.append(f"{said}: above ${limits.approve_above:,.2f} an approval is needed")
    elif high > limits.warn_above:
        warnings.append(f"{said}: above ${limits.warn_above:,.2f}")
    for month in months:
        if high > month.left and override:
            warnings.append(f"{said}, but {short_of(month)}; the budget is overridden")
        elif high > month.left:
            needs = "an approval that overrides the budget is needed"
            reasons.append(f"{said}, but {short_of(month)}: {needs}")
    action: Action = "approve" if reasons or high > left else "pass"
    if action == "pass" and confirm is Confirm.always:
        action = "confirm"
        reasons.append("started by a person: shown and confirmed before anything is spent")
    limit = hard_limit(cost, None if override else left, usd_per_hour)
    return GateDecision(action, tuple(reasons), tuple(warnings), limit, high > left, high)


def short_of(month: BudgetState) -> str:
    """What is left of a month that does not pay for a job."""
    return (
        f"${max(Decimal(0), month.left):,.2f} of the {month.name} of ${month.limit:,.2f} is left "
        f"(spent ${month.spent:,.2f}, committed ${month.committed:,.2f})"
    )


def foreseen(found: Estimate, limits: Limits, state: BudgetState) -> dict[str, Any]:
    """The month, and what the gate would say to a job that a person starts now."""
    usd_per_hour = found.price.usd_per_hour
    decision = gate(
        found.cost_usd, limits, state, confirm=Confirm.always, usd_per_hour=usd_per_hour
    )
    return {**state.as_json(), "gate": decision.as_json()}


def unspent(settings: Settings, now: datetime) -> BudgetState:
    """The month of a home that has no ledger yet."""
    month = month_name(now, settings.zone)
    return BudgetState(month, settings.month_budget_usd, Decimal(0), Decimal(0))


def admits(
    decision: GateDecision,
    *,
    approved: bool,
    override_budget: bool,
    approver: str = "",
    up_to: Decimal | None = None,
) -> tuple[str, ...]:
    """Why a given approval does not open this gate; empty = it does.

    up_to: dollars that the approver may decide on, None: any; below the gate's limits everybody may
    confirm.
    """
    if not approved:
        return ("it was rejected",)
    if decision.action == "approve" and up_to is not None and decision.high_usd > up_to:
        may = f"{approver} may approve up to ${up_to:,.2f}"
        return (f"{may}, this job may cost ${decision.high_usd:,.2f}: somebody else must approve",)
    if decision.over_budget and not override_budget:
        said = "the approval does not override it, with a reason"
        return (f"the month's budget would be passed and {said}",)
    return ()


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold that has been reached. stops: the job saves a checkpoint and ends by itself."""

    threshold: str
    message: str
    stops: bool = False
    client: str = ""


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
            f"${state.spent:,.2f} spent{of(state)} in {state.month}: {share} % of "
            f"${state.limit:,.2f} passed, "
            f"${max(Decimal(0), state.limit - state.spent):,.2f} left",
            client=state.client,
        )
        for share in (80, 95)
        if state.limit > 0 and state.spent * 100 >= state.limit * share
    )


def of(state: BudgetState) -> str:
    return f" for {state.client}" if state.client else ""


def month_stop(state: BudgetState) -> Alert | None:
    """The month's budget is used up: jobs that run are stopped, but for those that override it."""
    if state.spent <= 0 or state.spent < state.limit:
        return None
    spent = f"{shown(state.spent)} spent{of(state)} in {state.month}"
    text = f"{spent}: the limit of {shown(state.limit)}"
    return Alert("month_limit", f"{text} is reached", stops=True)


def month_name(now: datetime, tz: tzinfo = UTC) -> str:
    """ "2026-11" of a moment in a time zone."""
    return f"{now.astimezone(tz):%Y-%m}"


def moment_in(month: str, now: datetime, tz: tzinfo = UTC) -> datetime:
    """A moment of the month "2026-11": now, or its last second when it is another month.

    ValueError: not a month.
    """
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=tz)
    if month_name(now, tz) == month:
        return now
    return month_bounds(first, tz)[1] - timedelta(seconds=1)


def month_bounds(now: datetime, tz: tzinfo = UTC) -> tuple[datetime, datetime]:
    """First moment of the month of `now`, and of the next one, both in UTC."""
    first = now.astimezone(tz).replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
    return first.astimezone(UTC), first.replace(year=year, month=month).astimezone(UTC)
