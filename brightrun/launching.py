"""Rent the next pod of a job: written down first, so that a doubtful launch can be looked up.

Candidates are asked one after the other under the same attempt: after a definite no the row says
where it is asked next before it is asked there. After a doubtful answer nobody else is asked.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from itertools import takewhile
from typing import Any

from brightrun import preflight
from brightrun.choosing import trailing_misses
from brightrun.compute.candidates import Candidate, all_refused, none_fits
from brightrun.compute.provider import Doubtful, LaunchRequest, Refused, pod_name
from brightrun.context import JobContext, driver_name
from brightrun.deciding import history
from brightrun.errors import BudgetError, CapacityError, ConfigurationError, ProviderError
from brightrun.ledger import AttemptRow
from brightrun.outcomes import NEVER_STARTED
from brightrun.placing import Rented, places
from brightrun.podenv import choices_with, environment, limits, secrets_of
from brightrun.situation import Action

SURELY_NOTHING = (CapacityError, BudgetError, ConfigurationError)


def launch(job: JobContext, action: Action | None = None) -> AttemptRow:
    """Write the attempt down, then start its pod on the market and off the places of `action`.

    CapacityError: none is to be had. Doubtful: perhaps there is one; the attempt stays open.
    """
    number = job.ledger.next_attempt_number(job.job_id)
    estimate = job.folder.read_json("estimate.json")
    market = str((action.market if action else None) or estimate["market"])
    candidates, why_none = candidates_of(job, estimate, market, action)
    rented = Rented.at(candidates[0], estimate, market, job.settings.processes)
    adjustment = action.adjustment if action else {}
    name = pod_name(job.job_id, number, secrets.token_hex(3), job.ledger.owner())
    wanted = LaunchRequest(
        name=name,
        environment=environment(
            job, name, number, estimate, choices_with(job.settings, adjustment)
        ),
        secrets=secrets_of(job, name),
        gpu_count=job.settings.processes,
    )
    why_none = check_before(job, wanted, estimate, rented, why_none)
    forget_old_stop(job)
    attempt = written_down(job, number, wanted, rented)
    if why_none is not None:
        raise never_started(job, number, why_none)
    if adjustment:
        job.note("choice", mended(number, adjustment))
    return ask_each(job, attempt, wanted, candidates, estimate)


def candidates_of(
    job: JobContext, estimate: dict[str, Any], market: str, action: Action | None
) -> tuple[tuple[Candidate | None, ...], CapacityError | None]:
    """Whom to ask, best first, and why nobody; (None,): a provider with one kind of pod."""
    try:
        choice = places(job, estimate, market, action)
    except (ProviderError, CapacityError) as error:
        return (None,), none_free(error)
    return (choice.candidates if choice is not None else ()) or (None,), none_fits(choice)


def none_free(error: ProviderError | CapacityError) -> CapacityError:
    """A provider that is away for a while: the same as no free machine."""
    return CapacityError(error.message, cause=error.cause, fix=error.fix)


def check_before(
    job: JobContext,
    wanted: LaunchRequest,
    estimate: dict[str, Any],
    rented: Rented,
    why_none: CapacityError | None,
) -> CapacityError | None:
    """Preflight, until a pod was rented; returns why none can be rented now.

    What can be looked at without a machine is looked at before the first wait for one, everything
    again when the wait is over. ConfigurationError: nothing is waited for or rented.
    """
    before = job.ledger.attempts(job.job_id)
    if any(attempt.pod_id for attempt in before):
        return why_none
    if not job.provider.manners.far_away:
        preflight.require_memory(job, estimate)
        preflight.require_storage(job, wanted)
        return why_none
    if why_none is None:
        there = wanted.model_copy(update={"offer": rented.offer})
        try:
            preflight.require(job, there, estimate, rented)
        except (ProviderError, CapacityError) as error:
            why_none = none_free(error)
    if why_none is not None and not before:
        preflight.require_ours(job, wanted, estimate)
    return why_none


def ask_each(
    job: JobContext,
    attempt: AttemptRow,
    wanted: LaunchRequest,
    candidates: Sequence[Candidate | None],
    estimate: dict[str, Any],
) -> AttemptRow:
    """The pod of the first candidate that does not refuse."""
    size = volume_size(job)
    refusals: list[Refused] = []
    for candidate in candidates:
        if refusals:
            rented = Rented.at(candidate, estimate, attempt.market, wanted.gpu_count)
            attempt = moved(job, attempt, wanted, rented)
        if candidate is not None:
            job.note("choice", chosen(attempt.number, candidate, size))
        offer = None if candidate is None else candidate.offer
        told = {**wanted.environment, **limits(job, attempt.usd_per_hour)}
        asked = job.clock.monotonic()
        try:
            pod = job.provider.launch(
                wanted.model_copy(update={"offer": offer, "environment": told})
            )
        except Refused as refusal:
            refusals.append(refusal)
            job.note("warning", no(attempt.number, refusal))
            continue
        except SURELY_NOTHING as error:
            raise never_started(job, attempt.number, error) from None
        except Doubtful as error:
            job.note("warning", error.as_dict())
            raise
        except BaseException:
            # It may run: its books stay open until it is seen gone.
            with suppress(ProviderError):
                job.provider.terminate(wanted.name)
            raise
        usd, took = pod.usd_per_hour, job.clock.monotonic() - asked
        attempt = job.ledger.pod_rented(job.job_id, attempt.number, pod.provider_id, usd)
        if candidate is not None:
            job.note("choice", made(attempt.number, took))
        return attempt
    alone = len(refusals) == 1 and refusals[0].broken
    before = said_before(job, refusals[0], attempt.market) if alone else 0
    raise never_started(job, attempt.number, all_refused(refusals, before))


def no(number: int, refusal: Refused) -> dict[str, Any]:
    """The event: a candidate refused. broken: in these words, which may mean our request."""
    facts = {"code": refusal.code, "message": refusal.message, "attempt": number}
    return {**facts, "broken": refusal.said if refusal.broken else ""}


def said_before(job: JobContext, last: Refused, market: str) -> int:
    """How many tries of a market in a row before this one found no machine and heard only these
    words; what was tried on another market in between is of no account."""
    heard: dict[int, set[str]] = defaultdict(set)
    for event in job.ledger.events(job.job_id, 0, "warning"):
        if "broken" in event.payload:
            heard[event.payload["attempt"]].add(event.payload["broken"])
    misses = [past for past in reversed(trailing_misses(history(job))) if past.market == market]
    return sum(1 for _ in takewhile(lambda past: heard[past.attempt] == {last.said}, misses))


def never_started(job: JobContext, number: int, why: Exception) -> Exception:
    """Close the books of an attempt without a pod; it cost nothing. What is offered may not be what
    it was a minute ago, so the next decision asks."""
    job.live.forget()
    outcome, now = f"lost:{NEVER_STARTED}", job.clock.now()
    job.ledger.end_attempt(job.job_id, number, now, outcome, cost_usd=Decimal(0))
    return why


def made(number: int, seconds: float) -> dict[str, Any]:
    """The event: the provider said that the pod exists, so long after it was asked."""
    message = f"pod {number}: rented after {seconds:.1f} s, it starts"
    return {"attempt": number, "message": message, "created_s": round(seconds, 3)}


def mended(number: int, adjustment: dict[str, Any]) -> dict[str, Any]:
    """The event: what a pod does otherwise than the one that ran out of memory."""
    said = ", ".join(f"{name} {value}" for name, value in adjustment.items())
    return {
        "attempt": number,
        "message": f"pod {number} runs with {said} because the memory was not enough; "
        "the result stays the same up to floating point",
        "adjustment": adjustment,
    }


def volume_size(job: JobContext) -> float:
    """GB, for the bill's side; 0 where it is not said."""
    try:
        return job.provider.volume_gb()
    except (ProviderError, ConfigurationError):
        return 0.0


def chosen(number: int, candidate: Candidate, volume_gb: float) -> dict[str, Any]:
    """The event: what is asked for and why."""
    offer = candidate.offer
    return {
        "attempt": number,
        "message": f"pod {number}: {offer.place}: {candidate.reason}",
        "gpu": offer.gpu,
        "data_center": offer.data_center,
        "cloud": offer.cloud,
        "market": str(offer.market),
        "usd_per_hour": float(offer.usd_per_hour),
        "stock": offer.stock,
        "volume_gb": volume_gb,
        "as_of": offer.as_of.isoformat(),
    }


def written_down(job: JobContext, number: int, wanted: LaunchRequest, rented: Rented) -> AttemptRow:
    """launch.json, lease and, last, the committed row."""
    now = job.clock.now()
    describe(job, number, wanted, rented, now)
    job.folder.renew_lease(driver_name(), job.lease_seconds, now, attempt=number)
    return job.ledger.add_attempt(
        job.job_id,
        number,
        provider=job.request.provider,
        market=rented.market,
        pod_name=wanted.name,
        usd_per_hour=rented.usd_per_hour,
        launched_at=now,
        data_center=rented.data_center,
        gpu=rented.gpu,
    )


def moved(
    job: JobContext, attempt: AttemptRow, wanted: LaunchRequest, rented: Rented
) -> AttemptRow:
    """The next place of the same attempt, written down before it is asked there."""
    now = job.clock.now()
    describe(job, attempt.number, wanted, rented, now)
    return job.ledger.move_attempt(
        job.job_id,
        attempt.number,
        market=rented.market,
        usd_per_hour=rented.usd_per_hour,
        launched_at=now,
        data_center=rented.data_center,
        gpu=rented.gpu,
    )


def describe(
    job: JobContext, number: int, wanted: LaunchRequest, rented: Rented, now: datetime
) -> None:
    """launch.json: what does not decide the result."""
    job.folder.write_json(
        f"attempts/{number}/launch.json",
        {
            "pod": wanted.name,
            "provider": job.request.provider,
            "market": rented.market,
            "data_center": rented.data_center,
            "gpu": rented.gpu,
            "price": rented.price,
            "threads": job.spec.threads,
            "processes": job.settings.processes,
            "choices": wanted.environment["BRIGHTRUN_CHOICES"],
            "resumes_from": max(job.folder.checkpoints(), default=0),
            "launched_at": now.isoformat(),
        },
    )


def forget_old_stop(job: JobContext) -> None:
    """A switch was meant for the last pod. A pause that comes while a pod is looked for holds: the
    pod obeys it (`start_afresh` removes an obeyed one)."""
    asked = job.folder.stop_request()
    if asked is not None and asked["reason"] == "switch":
        job.folder.remove("control/stop.json")
