"""Drive one pod to its end: adopt or launch it, follow its events, decide what came of it.

Money rule: the attempt row is committed before the provider is called, and an attempt without a
known end counts as billing until the provider shows that its pod is gone.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brightrun import alerts
from brightrun.context import JobContext
from brightrun.deciding import decide
from brightrun.errors import CapacityError, InterruptionError, SpotInterrupted, from_dict
from brightrun.following import Tick, follow, ingest
from brightrun.launching import launch
from brightrun.ledger import AttemptRow
from brightrun.runfolder import DONE, FAILED, STOPPED
from brightrun.situation import FINAL_STOPS, NEVER_BOOTED, Action
from brightrun.stopping import DriverReplaced, JobCancelled

WAITING_SECONDS = 15.0  # between two looks at a request to stop while no machine is free


def train_once(job: JobContext, hard_limit_usd: Decimal | None, on_tick: Tick) -> dict[str, Any]:
    """Bring the job's pod to its end; returns the content of `_DONE`.

    Raises SpotInterrupted (worth a retry), JobCancelled, CapacityError, or the pod's own error.
    on_tick(attempt) is called about once a second.
    """
    attempt = live_attempt(job)
    settle_open_attempts(job, but=attempt)
    if attempt is None:
        found = rent(job)
        if isinstance(found, Action):
            return conclude(job, found.do, found.why)
        attempt = found
    try:
        follow(job, attempt, hard_limit_usd, on_tick)
    except DriverReplaced:
        raise
    except BaseException:
        release(job, attempt)
        raise
    release(job, attempt)
    alerts.check(job)
    action = decide(job)
    if action.do in ("launch", "wait"):
        raise SpotInterrupted(f"pod {attempt.pod_name} was lost: {action.why}")
    return conclude(job, action.do, action.why)


def rent(job: JobContext) -> AttemptRow | Action:
    """The next pod, after a wait for a free machine if need be; else why there is none.

    CapacityError when the policy does not wait (any longer).
    """
    while True:
        action = decide(job)
        if action.do == "wait":
            time.sleep(min(action.wait_s, WAITING_SECONDS))
        elif action.do != "launch":
            return action
        else:
            try:
                return launch(job)
            except CapacityError:
                if decide(job).do not in ("wait", "launch"):
                    raise


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
    mute = running and job.ledger.last_seq(job.job_id, attempt.number) == 0
    job.ledger.end_attempt(
        job.job_id,
        attempt.number,
        now if running else min(now, last),
        outcome_of(job.folder.marker(attempt.number), job.folder.stop_request(), mute),
        last_step=max(steps, default=before),
        resumed_from=min(steps) - 1 if steps else before,
    )


def steps_of(job: JobContext, attempt: int) -> list[int]:
    """Optimizer steps that an attempt executed."""
    rows = job.ledger.events(job.job_id, attempt=attempt, type="metric")
    return [int(row.payload["step"]) for row in rows if "loss" in row.payload]


def outcome_of(
    marker: tuple[str, dict[str, Any]] | None, asked: dict[str, Any] | None, mute: bool = False
) -> str:
    """`done`, `failed:code`, `stopped:reason` or `lost:why`.

    asked: the request to stop; mute: the pod ran until it was ended and never gave a sign of life.
    """
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
    return f"lost:{NEVER_BOOTED}" if mute else "lost:no ending was written"


def conclude(job: JobContext, do: str, why: str) -> dict[str, Any]:
    """The last attempt's end as a value or an exception."""
    rows = job.ledger.attempts(job.job_id)
    last = job.folder.marker(rows[-1].number) if rows else None
    if do == "finished" and last is not None:
        return last[1]
    if do == "fail" and last is not None:
        raise from_dict(last[1])
    if do in ("cancelled", "paused"):
        raise JobCancelled(
            f"job {job.job_id} was {why}",
            fix=f"its checkpoints are kept: `brightrun train --resume {job.job_id}` goes on",
        )
    raise InterruptionError(
        f"job {job.job_id} was given up: {why}",
        cause="see `brightrun events` for the last signs of each pod",
        fix=f"mend the cause, then `brightrun train --resume {job.job_id}`",
    )
