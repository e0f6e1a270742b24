"""Drive one pod to its end: adopt or launch it, follow its events, decide what came of it.

Money rule: the attempt row is committed before the provider is called, and an attempt without a
known end counts as billing until the provider shows that its pod is gone.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brightrun.compute.provider import LaunchRequest
from brightrun.context import JobContext, driver_name
from brightrun.errors import CapacityError, InterruptionError, SpotInterrupted, from_dict
from brightrun.ledger import AttemptRow
from brightrun.recovery import Past, Policy, next_action
from brightrun.runfolder import DONE, FAILED, STOPPED

POLL_SECONDS = 1.0
SECOND_LOOK_SECONDS = 2.0
BOOT_DEADLINE_SECONDS = 600.0
PROGRESS_TYPES = ("metric", "checkpoint", "progress")
Tick = Callable[[int], None]


class JobCancelled(InterruptionError):
    """A person or a limit stopped the job; its checkpoints are kept."""

    code = "cancelled"


def train_once(job: JobContext, hard_limit_usd: Decimal | None, on_tick: Tick) -> dict[str, Any]:
    """Bring the job's pod to its end; returns the content of `_DONE`.

    Raises SpotInterrupted (worth a retry), JobCancelled, CapacityError, or the pod's own error.
    on_tick(attempt) is called about once a second.
    """
    attempt = live_attempt(job)
    if attempt is None:
        settle_open_attempts(job)
        action = next_action(history(job), Policy(max_attempts=job.settings.max_attempts))
        if action.do == "launch":
            attempt = launch(job)
        else:
            return conclude(job, action.do, action.why)
    try:
        follow(job, attempt, hard_limit_usd, on_tick)
    finally:
        release(job, attempt)
    action = next_action(history(job), Policy(max_attempts=job.settings.max_attempts))
    if action.do == "launch":
        raise SpotInterrupted(f"pod {attempt.pod_name} was lost: {action.why}")
    return conclude(job, action.do, action.why)


def live_attempt(job: JobContext) -> AttemptRow | None:
    """The attempt whose pod still runs and has written no ending: adopt it, never rent twice."""
    for attempt in job.ledger.attempts(job.job_id):
        if attempt.ended_at is None and job.folder.marker(attempt.number) is None:
            pod = job.provider.find(attempt.pod_name)
            if pod is not None and pod.state == "running":
                return attempt
    return None


def settle_open_attempts(job: JobContext) -> None:
    """Close the books of attempts whose driver died; their pods are made sure to be gone."""
    for attempt in job.ledger.attempts(job.job_id):
        if attempt.ended_at is None:
            release(job, attempt)


def start_afresh(job: JobContext) -> None:
    """A person goes on with an ended job: what happened before does not count against it.

    After a stop at the hard limit the money is asked for again: new estimate, new gate.
    """
    rows = job.ledger.attempts(job.job_id)
    job.folder.write_json(
        "control/resumed.json", {"after": max((a.number for a in rows), default=0)}
    )
    if rows and rows[-1].outcome == "stopped:budget":
        for name in ("gate.json", "estimate.json"):
            job.folder.remove(name)


def history(job: JobContext) -> list[Past]:
    """The ended attempts that recovery looks at: those since a person last started the job."""
    resumed = "control/resumed.json"
    after = job.folder.read_json(resumed)["after"] if job.folder.exists(resumed) else 0
    found = []
    for row in job.ledger.attempts(job.job_id):
        if row.ended_at is None or row.number <= after:
            continue
        outcome, _, reason = row.outcome.partition(":")
        counts = job.ledger.event_counts(job.job_id, row.number)
        progress = sum(counts.get(kind, 0) for kind in PROGRESS_TYPES)
        found.append(
            Past.model_validate(
                {
                    "attempt": row.number,
                    "outcome": outcome,
                    "reason": reason,
                    "progress": progress,
                }
            )
        )
    return found


def launch(job: JobContext) -> AttemptRow:
    """Write the attempt down, then start its pod."""
    number = job.ledger.next_attempt_number(job.job_id)
    estimate = job.folder.read_json("estimate.json")
    price = estimate["price"]
    name = f"br-{job.job_id}-{number}-{secrets.token_hex(3)}"
    request = job.request
    kills = request.interrupt_at
    environment = {
        "BRIGHTRUN_JOB_ID": job.job_id,
        "BRIGHTRUN_ATTEMPT": str(number),
        "BRIGHTRUN_MODELS": str(job.settings.models),
        "BRIGHTRUN_THREADS": str(job.spec.threads),
        "BRIGHTRUN_EXPECTED": json.dumps(estimate["stage_seconds"]),
        "STORAGE_URL": job.settings.storage,
    }
    if number <= len(kills):
        environment["BRIGHTRUN_INTERRUPT_AT"] = str(kills[number - 1])
    job.folder.remove("control/stop.json")
    now = datetime.now(UTC)
    job.folder.write_json(
        f"attempts/{number}/launch.json",
        {
            "pod": name,
            "provider": request.provider,
            "price": price,
            "threads": job.spec.threads,
            "resumes_from": max(job.folder.checkpoints(), default=0),
            "launched_at": now.isoformat(),
        },
    )
    job.folder.renew_lease(driver_name(), job.settings.lease_seconds, now)
    attempt = job.ledger.add_attempt(
        job.job_id,
        number,
        provider=request.provider,
        market=estimate["market"],
        pod_name=name,
        usd_per_hour=Decimal(str(price["usd_per_hour"])),
        launched_at=now,
    )
    try:
        job.provider.launch(LaunchRequest(name=name, environment=environment))
    except CapacityError:
        job.ledger.end_attempt(job.job_id, number, datetime.now(UTC), "lost:never started")
        raise
    return attempt


def follow(
    job: JobContext, attempt: AttemptRow, hard_limit_usd: Decimal | None, on_tick: Tick
) -> None:
    """Renew the lease and take in events until the pod ended or is lost."""
    started = last_sign = time.monotonic()
    renewed = 0.0
    while job.folder.marker(attempt.number) is None:
        now = time.monotonic()
        if now - renewed > job.settings.lease_seconds / 4:
            job.folder.renew_lease(driver_name(), job.settings.lease_seconds, datetime.now(UTC))
            job.ledger.renew_claim(job.job_id, driver_name(), datetime.now(UTC))
            renewed = now
        if ingest(job, attempt.number):
            last_sign = now
        over_limit(job, hard_limit_usd)
        on_tick(attempt.number)
        silent = now - last_sign
        booting = last_sign == started
        limit = BOOT_DEADLINE_SECONDS if booting else job.settings.heartbeat_stale_seconds
        if job.provider.find(attempt.pod_name) is None or silent > limit:
            time.sleep(SECOND_LOOK_SECONDS)
            gone = job.provider.find(attempt.pod_name) is None
            if gone or not ingest(job, attempt.number):
                return
        time.sleep(POLL_SECONDS)


def ingest(job: JobContext, attempt: int) -> int:
    """Take new events of an attempt into the ledger; returns how many were new."""
    after = job.ledger.last_seq(job.job_id, attempt)
    return job.ledger.ingest(job.job_id, job.folder.events(attempt, after))


def over_limit(job: JobContext, hard_limit_usd: Decimal | None) -> None:
    """Ask the pod to stop when the job's hard limit is reached."""
    if hard_limit_usd is None or job.folder.stop_request() is not None:
        return
    if job.ledger.cost_so_far(job.job_id, datetime.now(UTC)) >= hard_limit_usd:
        job.folder.request_stop("budget", by=f"hard limit of ${hard_limit_usd}")


def release(job: JobContext, attempt: AttemptRow) -> None:
    """Make the pod go away, take in its last events and close the attempt's books. Repeatable."""
    job.provider.terminate(attempt.pod_name)
    ingest(job, attempt.number)
    row = next(a for a in job.ledger.attempts(job.job_id) if a.number == attempt.number)
    if row.ended_at is not None:
        return
    steps = steps_of(job, attempt.number)
    before = job.folder.read_json(f"attempts/{attempt.number}/launch.json")["resumes_from"]
    job.ledger.end_attempt(
        job.job_id,
        attempt.number,
        job.ledger.last_event_at(job.job_id, attempt.number) or attempt.launched_at,
        outcome_of(job.folder.marker(attempt.number)),
        last_step=max(steps, default=before),
        resumed_from=min(steps) - 1 if steps else before,
    )


def steps_of(job: JobContext, attempt: int) -> list[int]:
    """Optimizer steps that an attempt executed."""
    rows = job.ledger.events(job.job_id, attempt=attempt, type="metric")
    return [int(row.payload["step"]) for row in rows if "loss" in row.payload]


def outcome_of(marker: tuple[str, dict[str, Any]] | None) -> str:
    """`done`, `failed:code`, `stopped:reason` or `lost:no marker`."""
    if marker is None:
        return "lost:no ending was written"
    name, content = marker
    if name == DONE:
        return "done"
    if name == FAILED:
        return f"failed:{content.get('code', 'trainer')}"
    assert name == STOPPED
    return f"stopped:{content.get('reason', 'unknown')}"


def conclude(job: JobContext, do: str, why: str) -> dict[str, Any]:
    """The last attempt's end as a value or an exception."""
    last = job.folder.marker(job.ledger.attempts(job.job_id)[-1].number)
    if do == "finished" and last is not None:
        return last[1]
    if do == "fail" and last is not None:
        raise from_dict(last[1])
    if do == "cancelled":
        raise JobCancelled(
            f"job {job.job_id} was {why}",
            fix=f"its checkpoints are kept: `brightrun train --resume {job.job_id}` goes on",
        )
    raise InterruptionError(
        f"job {job.job_id} was given up: {why}",
        cause="see `brightrun events` for the last signs of each pod",
        fix=f"mend the cause, then `brightrun train --resume {job.job_id}`",
    )
