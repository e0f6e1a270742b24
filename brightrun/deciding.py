"""Ask recovery about a real job: history, situation and policy from ledger and run folder."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from brightrun.advances import advances
from brightrun.context import JobContext
from brightrun.errors import OutOfMemory
from brightrun.jobs import Market
from brightrun.ledger import AttemptRow
from brightrun.liveprices import by_market
from brightrun.markets import MarketState, Rate
from brightrun.prices import Price
from brightrun.recovery import Action, Past, Policy, Situation, next_action
from brightrun.situation import harmless

# A machine that cannot start a process gets no better by waiting.
PATIENCE_HOURS = {"local": 0.0}
# Stages of which a new pod does only the rest; it goes through the others again.
WISH = "control/market.json"  # written by steering.switch
RESUMED = "control/resumed.json"  # a person has gone on with the job
SHARED = ("training", "measuring", "finalization")
STARTING = ("preprocessing", "model_loading")


def decide(job: JobContext) -> Action:
    """What the attempts so far and a standing request to stop call for."""
    return next_action(history(job), policy_of(job), situation(job))


def policy_of(job: JobContext) -> Policy:
    patience = PATIENCE_HOURS.get(job.request.provider, Policy().capacity_hours)
    return Policy(max_attempts=job.settings.max_attempts, capacity_hours=patience)


def situation(job: JobContext) -> Situation:
    """Now, the request to stop, the markets at their live prices, work and money that are left."""
    row, now = job.ledger.job(job.job_id), job.clock.now()
    asked = job.folder.stop_request() or {}
    estimate = row.estimate or {}
    stages = {s.name: s for s in job.progress().stages}
    left = sum(stages[name].remaining_s for name in SHARED)
    start = sum(stages[name].expected_s for name in STARTING)
    wish, wish_after = wished(job)
    return Situation(
        now=now,
        stop=str(asked.get("reason", "")),
        wish=wish,
        wish_after=wish_after,
        markets=markets_of(
            estimate, job.ledger.interruption_rates(job.request.provider, now), live(job)
        ),
        remaining_hours=(start + left) / 3600,
        overhead_hours=estimate.get("interruption_s", {}).get("likely", 0.0) / 3600,
        spent=job.ledger.cost_so_far(job.job_id, now),
        limit=row.hard_limit_usd,
    )


def wished(job: JobContext) -> tuple[Market, int]:
    """The market that a person asked for, and the last attempt before they did."""
    if not job.folder.exists(WISH):
        return job.request.market, 0
    asked = job.folder.read_json(WISH)
    return Market(asked["market"]), int(asked["after"])


def live(job: JobContext) -> dict[Market, Price | None]:
    """What each market asks now; {}: the provider is silent or has none, the estimate counts."""
    wish = job.request
    return by_market(job.live.now(), wish.provider, wish.gpu, job.settings.processes)


def markets_of(
    estimate: Mapping[str, Any],
    rates: Mapping[Market, Rate],
    now: Mapping[Market, Price | None],
) -> tuple[MarketState, ...]:
    """The markets of an estimate's JSON; rates: what is known by now, this job's losses included.

    now: live prices, None where the market has no such machine at all; {}: as estimated. A machine
    that is not taken away has no interruptions in its estimate, and none here.
    """
    found = []
    for row in estimate.get("markets", ()):
        market, said = Market(row["market"]), row.get("interruptions_per_hour", {})
        steady = not said.get("likely")
        price, usd = now.get(market), Decimal(str(row["price"]["usd_per_hour"]))
        found.append(
            MarketState(
                market=market,
                usd_per_hour=usd if price is None else price.usd_per_hour,
                offered=price is not None if now else row["offered"],
                source="" if price is None else price.source,
                interruptions_per_hour=0.0 if steady else rates[market].per_hour.likely,
            )
        )
    return tuple(found)


def history(job: JobContext) -> list[Past]:
    """The ended attempts that recovery looks at: those since a person last started the job."""
    after = job.folder.read_json(RESUMED)["after"] if job.folder.exists(RESUMED) else 0
    rows = job.ledger.attempts(job.job_id)
    signs: dict[int, list[tuple[str, dict[str, Any]]]] = {row.number: [] for row in rows}
    for event in job.ledger.events(job.job_id):
        if event.attempt in signs:
            signs[event.attempt].append((event.type, event.payload))
    progress = advances(signs)
    found = []
    for row in rows:
        if row.ended_at is None or row.number <= after:
            continue
        outcome, _, reason = row.outcome.partition(":")
        found.append(
            Past.model_validate(
                {
                    "attempt": row.number,
                    "outcome": outcome,
                    "reason": reason,
                    "suggested": suggested(job, row),
                    "progress": progress[row.number],
                    "market": row.market or None,
                    "data_center": row.data_center,
                    "gpu": row.gpu,
                    "started": row.launched_at,
                    "ended": row.ended_at,
                }
            )
        )
    return found


def suggested(job: JobContext, row: AttemptRow) -> dict[str, Any]:
    """What a pod that ran out of memory says may mend it; {}: nothing that leaves the result."""
    if row.outcome != f"failed:{OutOfMemory.code}":
        return {}
    marker = job.folder.marker(row.number)
    return harmless(marker[1].get("adjustment") or {}) if marker is not None else {}
