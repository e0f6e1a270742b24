"""Which market the next pod is rented on, and when. Pure; part of `brightrun.recovery`.

The market stays until going on there costs more in expectation than elsewhere
(`markets.expected_cost`: price x work x e^(rate x overhead)), or until it has interrupted the job
so often that a higher price is worth the peace. One without a free machine is left in like manner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from brightrun.jobs import Market
from brightrun.markets import MarketState, expected_cost
from brightrun.money import shown
from brightrun.situation import Action, Past, Policy, Situation


@dataclass(frozen=True, slots=True)
class Choice:
    """market None: as planned. stop: no market is worth going on; offered: one is on offer."""

    market: Market | None
    why: str = ""
    stop: bool = False
    offered: bool = True


def next_market(history: Sequence[Past], policy: Policy, situation: Situation) -> Choice:
    """The market of the next pod, whether or not it has a free machine now."""
    if not situation.markets:
        return Choice(None)
    costs = {s.market: cost_of(s, situation) for s in situation.markets if s.offered}
    if not costs:
        return Choice(None, "no market is on offer", offered=False)
    left = None if situation.limit is None else situation.limit - situation.spent
    affordable = {m: usd for m, usd in costs.items() if left is None or usd <= left}
    if not affordable or (left is not None and left <= 0):
        least, rest = min(costs.values()), max(Decimal(0), left or Decimal(0))
        why = f"going on would cost about {shown(least)}, {shown(rest)} of the limit is left"
        return Choice(None, why, stop=True)
    market, why = steady_market(history, policy, situation, affordable)
    return with_room(market, why, history, policy, situation, affordable)


def cost_of(state: MarketState, situation: Situation) -> Decimal:
    """Dollars to the end of the job on a market."""
    return expected_cost(state, situation.remaining_hours, situation.overhead_hours)


def steady_market(
    history: Sequence[Past], policy: Policy, situation: Situation, costs: dict[Market, Decimal]
) -> tuple[Market, str]:
    """Where the job should run if machines are free there. costs: of the markets to choose from."""
    rates = {state.market: state.interruptions_per_hour for state in situation.markets}
    cheapest = min(costs, key=lambda market: (costs[market], market))
    mine = [past for past in history if past.attempt > situation.wish_after and not past.missed]
    rented = next((past.market for past in reversed(mine) if past.market), None)
    current = rented or situation.wish or cheapest
    if current not in costs:
        return cheapest, f"{current} is not offered or does not fit the limit: {cheapest}"

    steadier = [m for m in costs if rates[m] < rates[current]]
    if not steadier:
        return current, ""
    other = min(steadier, key=lambda market: (costs[market], market))
    lost = sum(past.interrupted and past.market == current for past in mine)
    worth = costs[other] <= dearest(costs[current], policy)
    if lost >= policy.last_resort or (lost >= policy.switch_after and worth):
        return other, f"{lost} interruptions on {current}: {other}"
    if costs[other] < costs[current]:
        saved = shown(costs[current] - costs[other])
        return other, f"with its interruptions {current} would cost {saved} more: {other}"
    return current, ""


def with_room(
    market: Market,
    why: str,
    history: Sequence[Past],
    policy: Policy,
    situation: Situation,
    costs: dict[Market, Decimal],
) -> Choice:
    """The same market, or another one while this one has no free machine, in turns.

    A much dearer one only after hours without any.
    """
    misses = trailing_misses(history)
    tries = Counter(past.market for past in misses)
    waited = seconds(misses[0].ended, situation.now) if misses and misses[0].ended else 0.0
    patient = waited < policy.patience_hours * 3600
    open_to = [m for m in costs if not patient or costs[m] <= dearest(costs[market], policy)]
    rounds = {m: tries[m] // max(1, policy.switch_after) for m in open_to}
    best = min(open_to, key=lambda m: (rounds[m], m != market, costs[m], m))
    if best == market:
        return Choice(market, why)
    return Choice(best, f"no free machine on {market} {tries[market]} times: {best}")


def dearest(usd: Decimal, policy: Policy) -> Decimal:
    """What another market may cost to be taken for the sake of peace."""
    return usd * Decimal(str(1 + policy.switch_premium))


def waiting(
    history: Sequence[Past], policy: Policy, situation: Situation, *, offered: bool
) -> Action | None:
    """Wait for a free machine, or give up waiting; None: try now.

    The pause doubles with every miss in a row; it is counted from the last one.
    """
    misses = trailing_misses(history)
    ended = history[-1].ended if history else None
    if offered and (not misses or ended is None):
        return None
    if ended is None:
        return Action(do="give_up", why="no market is on offer")
    waited = seconds((misses[0].ended if misses else None) or ended, situation.now)
    if waited >= policy.capacity_hours * 3600:
        return Action(do="give_up", why=f"no machine was to be had for {waited / 3600:.1f} hours")
    pause = policy.longest_wait_s
    if offered:
        pause = min(pause, policy.first_wait_s * 2.0 ** min(30, len(misses) - 1))
        pause -= seconds(ended, situation.now)
    if pause <= 0:
        return None
    why = f"no free machine, {len(misses)} tries" if offered else "no market is on offer"
    return Action(do="wait", why=why, wait_s=pause)


def seconds(since: datetime, until: datetime) -> float:
    """Never negative: a clock may run backwards."""
    return max(0.0, (until - since).total_seconds())


def trailing_misses(history: Sequence[Past]) -> list[Past]:
    """Tries at the end of the history that found no free machine, in order."""
    found: list[Past] = []
    for past in reversed(history):
        if not past.missed:
            break
        found.append(past)
    return found[::-1]
