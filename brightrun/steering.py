"""What a person asks of a job that runs: pause it, end it, or go on with it on another market.

All go through the run folder: the pod saves a checkpoint and goes, the driver obeys. Nothing is
asked that would not happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from brightrun.choosing import next_market
from brightrun.comparing import Outlook, outlook_left, recommend
from brightrun.context import JobContext
from brightrun.counting import count
from brightrun.deciding import WISH, history, policy_of, situation
from brightrun.errors import ConfigurationError
from brightrun.jobs import Market
from brightrun.ledger import JobRow, Status
from brightrun.markets import STEADY, MarketState
from brightrun.physics import Range, exactly
from brightrun.situation import Situation

ESTIMATED = "the estimate's (the provider does not say a live one)"


def pause(job: JobContext, by: str) -> None:
    """Ask the pod to save a checkpoint and go; nothing is paid until somebody resumes the job.

    ConfigurationError: it has no GPU to release.
    """
    row = job.ledger.job(job.job_id)
    must_run(row, "paused")
    job.folder.request_stop("pause", by)


def cancel(job: JobContext, by: str) -> None:
    """Ask the pod to save a checkpoint and go, and the driver to end the job.

    ConfigurationError: it has ended already.
    """
    row = job.ledger.job(job.job_id)
    if row.is_final:
        raise ConfigurationError(f"job {job.job_id} is already {row.status}")
    job.folder.request_stop("cancel", by)


def switch(job: JobContext, market: Market, by: str) -> str:
    """Rent the next pod on that market, now if one runs; returns what happens next.

    ConfigurationError: it is not on offer, too dear for the job's limit, or the job is there.
    """
    row = job.ledger.job(job.job_id)
    if row.status != Status.paused:
        must_run(row, "moved to another market")
    pods = job.ledger.attempts(job.job_id)
    running = pods[-1] if pods and pods[-1].ended_at is None else None
    if running is not None and running.market == market:
        raise ConfigurationError(f"job {job.job_id} already runs on {market}")
    after = max((pod.number for pod in pods), default=0)
    seen = situation(job).model_copy(update={"wish": market, "wish_after": after, "stop": ""})
    choice = next_market(history(job), policy_of(job), seen)
    if choice.stop or choice.market != market:
        raise ConfigurationError(
            f"job {job.job_id} would not go on with {market}: {choice.why or 'it is not on offer'}",
            fix=f"compare the markets: `brightrun switch {job.job_id}`",
        )
    wish = {"market": str(market), "after": after, "by": by, "at": datetime.now(UTC).isoformat()}
    job.folder.write_json(WISH, wish)
    if running is None:
        return f"the next pod is rented on {market}"
    job.folder.request_stop("switch", by)
    return f"its pod saves a checkpoint and goes, the next one is rented on {market}"


def must_run(row: JobRow, what: str) -> None:
    """ConfigurationError: only a job that trains or measures has a pod to talk of."""
    if row.status in (Status.queued, Status.running):
        return
    waits = row.status in (Status.awaiting_approval, Status.paused)
    why = "it waits and costs nothing" if waits else f"it is {row.status}: no GPU works for it"
    raise ConfigurationError(f"job {row.job_id} cannot be {what}: {why}")


def outlooks(job: JobContext, seen: Situation) -> tuple[Outlook, ...]:
    """What going on would mean on each market on offer, from the work that is left."""
    estimate = job.ledger.job(job.job_id).estimate or {}
    rates = job.ledger.interruption_rates(job.request.provider, seen.now)
    cost_of_one = range_of(estimate.get("interruption_s", {})).times(1 / 3600)
    return tuple(
        outlook_left(
            state.market,
            state.usd_per_hour,
            rates[state.market] if state.interruptions_per_hour else STEADY,
            exactly(seen.remaining_hours),
            cost_of_one,
        )
        for state in seen.markets
        if state.offered
    )


def range_of(facts: Mapping[str, Any]) -> Range:
    """{low, likely, high} of an estimate's JSON; absent: nothing."""
    return Range(*(float(facts.get(bound, 0.0)) for bound in ("low", "likely", "high")))


def compared(job: JobContext, now: datetime) -> dict[str, Any]:
    """{job_id, runs_on, spent_usd, markets: [{market, cost_usd, finish, interruptions_per_hour,
    left_hours, ...}], not_offered, recommendation}; costs are those still to come."""
    row = job.ledger.job(job.job_id)
    if not (row.estimate or {}).get("markets"):
        raise ConfigurationError(f"job {job.job_id} has no estimate yet: it is {row.status}")
    pods = job.ledger.attempts(job.job_id)
    seen = situation(job)
    found, every = outlooks(job, seen), seen.markets
    offered = {str(outlook.market) for outlook in found}
    return {
        "job_id": job.job_id,
        "runs_on": pods[-1].market if pods else "",
        "spent_usd": float(job.ledger.cost_so_far(job.job_id, now)),
        "markets": [market_json(outlook, every, now) for outlook in found],
        "not_offered": [str(s.market) for s in every if str(s.market) not in offered],
        "recommendation": recommend(found, now, job.request.needed_by).as_json(),
    }


def market_json(outlook: Outlook, states: tuple[MarketState, ...], now: datetime) -> dict[str, Any]:
    state = next(s for s in states if s.market == outlook.market)
    return {
        "market": str(outlook.market),
        "usd_per_hour": float(state.usd_per_hour),
        "cost_usd": outlook.cost_usd.as_json(),
        "left_hours": outlook.hours.as_json(),
        "finish": {k: at.isoformat(timespec="minutes") for k, at in outlook.finish(now).items()},
        "interruptions_per_hour": outlook.rate.as_json(),
        "price_source": state.source or ESTIMATED,
    }


def interrupted(rate: Mapping[str, Any]) -> str:
    """ "20% interruptions an hour (3 losses in 41.5 pod hours seen)"; rate: `Rate.as_json`."""
    seen = f"{count(rate['losses'], 'loss', 'losses')} in {rate['hours']:g} pod hours seen"
    return f"{rate['likely']:.0%} interruptions an hour" + (f" ({seen})" if rate["hours"] else "")


def sentences(facts: Mapping[str, Any]) -> list[str]:
    """The markets of `compared` and its advice, a line each."""
    lines = []
    for m in facts["markets"]:
        cost, rate = m["cost_usd"], m["interruptions_per_hour"]
        lines.append(
            f"{m['market']}: ${m['usd_per_hour']:,.2f} per hour, still ${cost['likely']:,.2f} "
            f"to pay (${cost['low']:,.2f} to ${cost['high']:,.2f}), "
            f"done about {m['finish']['likely']}, {interrupted(rate)}"
        )
    lines += [f"{name}: not offered" for name in facts["not_offered"]]
    return [*lines, str(facts["recommendation"]["why"])]
