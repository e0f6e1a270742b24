"""Drive one pod to its end: adopt or launch it, follow its events, decide what came of it.

Money rule: the attempt row is committed before the provider is called, and an attempt without a
known end counts as billing until the provider shows that its pod is gone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brightrun.context import JobContext, driver_name
from brightrun.errors import InterruptionError, SpotInterrupted, from_dict
from brightrun.launching import launch
from brightrun.ledger import AttemptRow
from brightrun.recovery import FINAL_STOPS, Action, Past, Policy, advances, next_action
from brightrun.runfolder import DONE, FAILED, STOPPED

POLL_SECONDS = 1.0
SECOND_LOOK_SECONDS = 2.0
BOOT_DEADLINE_SECONDS = 600.0
# A pod that was asked to stop saves within 20 seconds; one that does not is ended.
STOP_DEADLINE_SECONDS = 60.0
Tick = Callable[[int], None]


class JobCancelled(InterruptionError):
    """A person or a limit stopped the job; its checkpoints are kept."""

    code = "cancelled"


class DriverReplaced(InterruptionError):
    """This process slept too long and another one drives the job: its pod is no longer ours."""

    code = "driver_replaced"


def train_once(job: JobContext, hard_limit_usd: Decimal | None, on_tick: Tick) -> dict[str, Any]:
    """Bring the job's pod to its end; returns the content of `_DONE`.

    Raises SpotInterrupted (worth a retry), JobCancelled, CapacityError, or the pod's own error.
    on_tick(attempt) is called about once a second.
    """
    attempt = live_attempt(job)
    settle_open_attempts(job, but=attempt)
    if attempt is None:
        action = decide(job)
        if action.do != "launch":
            return conclude(job, action.do, action.why)
        attempt = launch(job)
    try:
        follow(job, attempt, hard_limit_usd, on_tick)
    except DriverReplaced:
        raise
    except BaseException:
        release(job, attempt)
        raise
    release(job, attempt)
    action = decide(job)
    if action.do == "launch":
        raise SpotInterrupted(f"pod {attempt.pod_name} was lost: {action.why}")
    return conclude(job, action.do, action.why)


def live_attempt(job: JobContext) -> AttemptRow | None:
    """The attempt whose pod still runs and has written no ending: adopt it, never rent twice."""
    for attempt in reversed(job.ledger.attempts(job.job_id)):
        if attempt.ended_at is None and job.folder.marker(attempt.number) is None:
            pod = job.provider.find(attempt.pod_name)
            if pod is not None and pod.state == "running":
                return attempt
    return None


def settle_open_attempts(job: JobContext, but: AttemptRow | None = None) -> None:
    """Close the books of attempts whose driver died; their pods are made sure to be gone."""
    for attempt in job.ledger.attempts(job.job_id):
        if attempt.ended_at is None and (but is None or attempt.number != but.number):
            release(job, attempt)


def start_afresh(job: JobContext) -> None:
    """A person goes on with an ended job: what happened before does not count against it.

    After a stop at the hard limit the money is asked for again: new estimate, new gate.
    """
    rows = job.ledger.attempts(job.job_id)
    job.folder.remove("control/stop.json")
    job.folder.write_json(
        "control/resumed.json", {"after": max((a.number for a in rows), default=0)}
    )
    if rows and rows[-1].outcome == "stopped:budget":
        for name in ("gate.json", "estimate.json"):
            job.folder.remove(name)


def decide(job: JobContext) -> Action:
    """What the attempts so far and a standing request to stop call for."""
    asked = job.folder.stop_request() or {}
    policy = Policy(max_attempts=job.settings.max_attempts)
    return next_action(history(job), policy, stop=str(asked.get("reason", "")))


def history(job: JobContext) -> list[Past]:
    """The ended attempts that recovery looks at: those since a person last started the job."""
    resumed = "control/resumed.json"
    after = job.folder.read_json(resumed)["after"] if job.folder.exists(resumed) else 0
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
        fields = {"outcome": outcome, "reason": reason, "progress": progress[row.number]}
        found.append(Past.model_validate({"attempt": row.number, **fields}))
    return found


def follow(
    job: JobContext, attempt: AttemptRow, hard_limit_usd: Decimal | None, on_tick: Tick
) -> None:
    """Renew the lease and take in events until the pod ended, is lost, or ignores a stop."""
    last_sign, renewed, asked = time.monotonic(), -math.inf, math.inf
    while job.folder.marker(attempt.number) is None:
        now = time.monotonic()
        if now - renewed > job.settings.lease_seconds / 4:
            renew(job, attempt)
            renewed = now
        if ingest(job, attempt.number):
            last_sign = now
        over_limit(job, hard_limit_usd)
        on_tick(attempt.number)
        if job.folder.stop_request() is not None:
            asked = min(asked, now)
        if now - asked > STOP_DEADLINE_SECONDS:
            return
        booting = job.ledger.last_seq(job.job_id, attempt.number) == 0
        limit = BOOT_DEADLINE_SECONDS if booting else job.settings.heartbeat_stale_seconds
        if job.provider.find(attempt.pod_name) is None or now - last_sign > limit:
            time.sleep(SECOND_LOOK_SECONDS)
            gone = job.provider.find(attempt.pod_name) is None
            if gone or not ingest(job, attempt.number):
                return
        time.sleep(POLL_SECONDS)


def renew(job: JobContext, attempt: AttemptRow) -> None:
    """Say that the job is driven: to other drivers first, then to the pod. DriverReplaced."""
    now, me = datetime.now(UTC), driver_name()
    claim = job.ledger.job(job.job_id).claim
    if not job.ledger.renew_claim(job.job_id, me, now) and claim is not None:
        raise DriverReplaced(
            f"job {job.job_id} is driven by {claim.driver} now",
            cause="this process did not run for a while (a suspended machine?)",
            fix=f"follow it with `brightrun watch {job.job_id}`",
        )
    job.folder.renew_lease(me, job.settings.lease_seconds, now, attempt=attempt.number)


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
    """Make the pod go away, take in its last events and close the attempt's books. Repeatable.

    A pod that had to be ended bills up to now; one that was already gone, to its last event.
    """
    running = job.provider.find(attempt.pod_name) is not None
    job.provider.terminate(attempt.pod_name)
    ingest(job, attempt.number)
    row = next(a for a in job.ledger.attempts(job.job_id) if a.number == attempt.number)
    if row.ended_at is not None:
        return
    steps = steps_of(job, attempt.number)
    before = job.folder.read_json(f"attempts/{attempt.number}/launch.json")["resumes_from"]
    now = datetime.now(UTC)
    last = job.ledger.last_event_at(job.job_id, attempt.number) or attempt.launched_at
    job.ledger.end_attempt(
        job.job_id,
        attempt.number,
        now if running else min(now, last),
        outcome_of(job.folder.marker(attempt.number), job.folder.stop_request()),
        last_step=max(steps, default=before),
        resumed_from=min(steps) - 1 if steps else before,
    )


def steps_of(job: JobContext, attempt: int) -> list[int]:
    """Optimizer steps that an attempt executed."""
    rows = job.ledger.events(job.job_id, attempt=attempt, type="metric")
    return [int(row.payload["step"]) for row in rows if "loss" in row.payload]


def outcome_of(marker: tuple[str, dict[str, Any]] | None, asked: dict[str, Any] | None) -> str:
    """`done`, `failed:code`, `stopped:reason` or `lost:why`; asked: the request to stop."""
    name, content = marker or ("", {})
    if name == DONE:
        return "done"
    if name == FAILED and content.get("code") == SpotInterrupted.code:
        # The machine's fault, not the trainer's: a broken GPU is a lost pod that could say why.
        return f"lost:{content.get('fault') or content.get('message', 'broken machine')}"
    if name == FAILED:
        return f"failed:{content.get('code', 'trainer')}"
    wish = str((asked or {}).get("reason", ""))
    if wish in FINAL_STOPS:  # obeyed, or made to by SIGTERM or SIGKILL: it is over either way
        return f"stopped:{wish}"
    if name == STOPPED:
        return f"stopped:{content.get('reason', 'unknown')}"
    return "lost:no ending was written"


def conclude(job: JobContext, do: str, why: str) -> dict[str, Any]:
    """The last attempt's end as a value or an exception."""
    rows = job.ledger.attempts(job.job_id)
    last = job.folder.marker(rows[-1].number) if rows else None
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
