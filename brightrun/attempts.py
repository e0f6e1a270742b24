"""Drive one pod to its end: adopt or launch it, follow its events, decide what came of it.

Money rule: the attempt row is committed before the provider is called, and an attempt without a
known end counts as billing until the provider shows that its pod is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from brightrun import alerts, interruptions
from brightrun.compute.ending import Gone, make_gone
from brightrun.compute.provider import Doubtful, Pod
from brightrun.context import JobContext
from brightrun.deciding import RESUMED, decide
from brightrun.errors import (
    CapacityError,
    ProviderError,
    SpotInterrupted,
    StopFailed,
    from_dict,
)
from brightrun.following import Tick, follow, ingest, keep_claim
from brightrun.givingup import given_up
from brightrun.launching import launch
from brightrun.ledger import AttemptRow
from brightrun.outcomes import FINAL_STOPS, NEVER_BOOTED, NEVER_STARTED, OWN_LIMIT
from brightrun.runfolder import DONE, FAILED, STOPPED
from brightrun.situation import Action
from brightrun.stopping import DriverReplaced, JobCancelled, JobPaused
from brightrun.storagefaults import is_outage

WAITING_SECONDS = 15.0  # between two looks at a request to stop while no machine is free


def train_once(job: JobContext, on_tick: Tick) -> dict[str, Any]:
    """Bring the job's pod to its end; returns the content of `_DONE`.

    Raises SpotInterrupted and StopFailed (worth a retry), JobCancelled, JobPaused, CapacityError,
    or the pod's own error.
    on_tick(attempt) is called about once a second.
    """
    job.waited_out(lambda: keep_claim(job))  # the open books of another driver are not ours
    attempt = job.waited_out(lambda: live_attempt(job))
    if not job.waited_out(lambda: settle_open_attempts(job, but=attempt)):
        raise job.waited_out(lambda: still_there(job))
    found = rent(job) if attempt is None else attempt
    if isinstance(found, Action):
        return job.waited_out(partial(conclude, job, found))
    mine, fresh = found, attempt is None
    try:
        if fresh:
            job.waited_out(lambda: interruptions.tell_resume(job, mine))
        follow(job, mine, on_tick)
    except DriverReplaced:
        raise
    except BaseException:
        with kept_open():
            release(job, mine)
        raise
    if not job.waited_out(lambda: release(job, mine)):
        ending = job.waited_out(lambda: job.folder.marker(mine.number))
        if ending is not None and ending[0] == DONE:
            return ending[1]
        raise job.waited_out(lambda: still_there(job))
    job.waited_out(lambda: alerts.check(job))
    action = job.waited_out(lambda: decide(job))
    if action.do in ("launch", "wait"):
        last = job.waited_out(lambda: job.ledger.attempts(job.job_id))[-1].outcome
        if last == "stopped:switch" or last.startswith("failed:"):  # wanted, or mended: no loss
            return train_once(job, on_tick)
        raise SpotInterrupted(f"pod {mine.pod_name} was lost: {action.why}")
    return job.waited_out(lambda: conclude(job, action))


@contextmanager
def kept_open() -> Iterator[None]:
    """A storage that is away must not hide why a job ends: the reaper closes the books later."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise


def rent(job: JobContext) -> AttemptRow | Action:
    """The next pod, after a wait for a free machine if need be; else why there is none.

    CapacityError when the policy does not wait (any longer).
    """
    while True:
        action = job.waited_out(lambda: decide(job))
        if action.do == "wait":
            job.clock.sleep(min(action.wait_s, WAITING_SECONDS))
        elif action.do != "launch":
            return action
        else:
            try:
                return launch_next(job, action)
            except CapacityError:
                if job.waited_out(lambda: decide(job)).do not in ("wait", "launch"):
                    raise
            except Doubtful:
                continue


def launch_next(job: JobContext, action: Action) -> AttemptRow:
    """After an earlier launch that stayed doubtful, or that the storage broke off, its pod is made
    sure to be gone before the next one is rented."""

    def ask() -> AttemptRow:
        keep_claim(job)
        if not settle_open_attempts(job):
            raise still_there(job)
        return launch(job, action)

    return job.waited_out(ask)


def live_attempt(job: JobContext) -> AttemptRow | None:
    """The attempt whose pod still runs and has written no ending: adopt it, never rent twice."""
    for attempt in reversed(job.ledger.attempts(job.job_id)):
        if attempt.ended_at is None and job.folder.marker(attempt.number) is None:
            pod = seen(job, attempt)
            if pod is not None and pod.state != "ended":
                return identified(job, attempt, pod.provider_id)
    return None


def identified(job: JobContext, attempt: AttemptRow, pod_id: str) -> AttemptRow:
    """With the provider's id, which its bill names: a driver may have died before it learned it."""
    if attempt.pod_id or not pod_id:
        return attempt
    return job.ledger.pod_rented(job.job_id, attempt.number, pod_id)


def seen(job: JobContext, attempt: AttemptRow) -> Pod | None:
    """The pod as its provider shows it; ProviderError when that says nothing for 10 minutes."""
    job.provider.learn(attempt.pod_name, attempt.pod_id)
    return job.waited_out(
        lambda: job.provider.find(attempt.pod_name), lambda error: isinstance(error, ProviderError)
    )


def settle_open_attempts(job: JobContext, but: AttemptRow | None = None) -> bool:
    """Close the books of attempts whose driver died; False: a pod may still be there."""
    left = (a for a in job.ledger.attempts(job.job_id) if a.ended_at is None)
    gone = [release(job, a) for a in left if but is None or a.number != but.number]
    return all(gone)


def still_there(job: JobContext) -> StopFailed:
    """Why a job rents no further pod: two at once would be billed for one job's work."""
    left = [a.pod_name for a in job.ledger.attempts(job.job_id) if a.ended_at is None]
    return StopFailed(
        f"job {job.job_id} rents no further pod while {', '.join(left)} may still run and bill",
        cause="the provider does not answer, or does not do what it says",
        fix="end it in the provider's console; the reaper tries for ever, and "
        f"`brightrun train --resume {job.job_id}` goes on",
    )


def start_afresh(job: JobContext) -> None:
    """A person goes on with an ended or paused job: what happened before does not count against it.

    When the hard limit or the month's budget stopped it, or does not pay for the rest, the money is
    asked for again: new estimate, new gate.
    """
    rows = job.ledger.attempts(job.job_id)
    asked = (job.folder.stop_request() or {}).get("reason")
    job.folder.remove("control/stop.json")
    job.folder.write_json(RESUMED, {"after": max((a.number for a in rows), default=0)})
    spent_out = asked == "budget" or (bool(rows) and rows[-1].outcome == "stopped:budget")
    if spent_out or (rows and decide(job).over_limit):
        for name in ("gate.json", "estimate.json"):
            job.folder.remove(name)


def release(job: JobContext, attempt: AttemptRow) -> bool:
    """Make the pod go away and close the attempt's books. Repeatable.

    False: it could not be ended (STOP_FAILED). It may go on billing, so its books stay open;
    everybody is told, and the reaper goes on trying.
    """
    row = next(a for a in job.ledger.attempts(job.job_id) if a.number == attempt.number)
    if row.ended_at is not None:
        return True
    job.provider.learn(row.pod_name, row.pod_id)
    try:
        gone = make_gone(job.provider, attempt.pod_name, job.clock)
    except StopFailed as error:
        stop_failed(job, row, error)
        return False
    close_books(job, row, gone)
    return True


def stop_failed(job: JobContext, attempt: AttemptRow, error: StopFailed) -> None:
    """The state STOP_FAILED, in the ledger, as an event, and on every channel."""
    job.ledger.stop_failed(job.job_id, attempt.number)
    alerts.stop_failed(job, attempt, error)


def close_books(job: JobContext, attempt: AttemptRow, gone: Gone) -> None:
    """Take in the last events of a pod that is surely gone, and write down how it ended.

    One that had to be ended bills until it was not seen any more; one that was already gone, to
    its last event, and without any until it was missed.
    """
    attempt = identified(job, attempt, gone.pod_id)
    ingest(job, attempt.number)
    steps = steps_of(job, attempt.number)
    before = job.folder.read_json(f"attempts/{attempt.number}/launch.json")["resumes_from"]
    last = job.ledger.last_event_at(job.job_id, attempt.number) or attempt.launched_at
    mute = job.ledger.last_seq(job.job_id, attempt.number) == 0
    if not mute and attempt.started_at is None:  # it was over before anybody looked
        first = job.ledger.events(job.job_id, attempt=attempt.number)[0].ts
        job.ledger.attempt_started(job.job_id, attempt.number, max(first, attempt.launched_at))
    silence = ""
    if mute and gone.was_there:
        silence = NEVER_BOOTED
    elif mute and not attempt.pod_id:
        silence = NEVER_STARTED
    job.ledger.end_attempt(
        job.job_id,
        attempt.number,
        gone.since if gone.was_there or (mute and attempt.pod_id) else min(gone.since, last),
        outcome_of(job.folder.marker(attempt.number), job.folder.stop_request(), silence),
        last_step=max(steps, default=before),
        resumed_from=min(steps) - 1 if steps else before,
    )
    interruptions.tell_loss(job, attempt)


def steps_of(job: JobContext, attempt: int) -> list[int]:
    """Optimizer steps that an attempt executed."""
    rows = job.ledger.events(job.job_id, attempt=attempt, type="metric")
    return [int(row.payload["step"]) for row in rows if "loss" in row.payload]


def outcome_of(
    marker: tuple[str, dict[str, Any]] | None, asked: dict[str, Any] | None, silence: str = ""
) -> str:
    """`done`, `failed:code`, `stopped:reason` or `lost:why`.

    asked: the request to stop; silence: why the pod never gave a sign of life, where that is known.
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
    return f"lost:{silence or 'no ending was written'}"


def conclude(job: JobContext, action: Action) -> dict[str, Any]:
    """The last attempt's end as a value or an exception."""
    do, why = action.do, action.why
    rows = job.ledger.attempts(job.job_id)
    last = job.folder.marker(rows[-1].number) if rows else None
    if do == "finished" and last is not None:
        return last[1]
    if do == "fail" and last is not None:
        raise from_dict(last[1])
    if do == "paused":
        raise JobPaused(
            f"job {job.job_id} is paused: {why.partition(': ')[2] or why}",
            fix=f"`brightrun train --resume {job.job_id}` goes on",
        )
    if do == "cancelled":
        asked = job.folder.stop_request() or (last[1] if last else {})
        by = asked.get("by", "") if asked.get("reason") == "budget" else ""
        raise JobCancelled(
            f"job {job.job_id} was {why}{f': {by}' if by else ''}",
            fix=f"its checkpoints are kept: `brightrun train --resume {job.job_id}` goes on",
            fault="time_limit" if by == OWN_LIMIT else "",
        )
    raise given_up(job, action)
