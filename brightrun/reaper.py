"""Look through an account and end the pods that must go: what the reap flow and command do.

Which ones, and why, is decided in `brightrun.reaping`. A pod that stays is asked again at the next
look, for ever; its books are closed only when it is surely gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from functools import partial

from brightrun import alerts, attempts
from brightrun.clock import Clock
from brightrun.compute.ending import Gone, make_gone
from brightrun.compute.provider import OURS, ComputeProvider, Pod, is_foreign
from brightrun.context import JobContext
from brightrun.errors import StopFailed
from brightrun.frozen import Frozen
from brightrun.ledger import AttemptRow, Ledger
from brightrun.notify import Message
from brightrun.outcomes import STOP_FAILED
from brightrun.posting import post, put_out_once, send_raised
from brightrun.reaping import (
    Books,
    Doomed,
    ReaperRules,
    Sighting,
    doomed,
    exhausted,
)
from brightrun.storagefaults import is_outage

AT_ONCE = 8
# A pod at its limit saves its checkpoint first: it is asked, and ended so much later.
SAVING_SECONDS = 120.0


class Reaped(Frozen):
    """A pod that had to go. gone None: it was only looked at; False: it is still there.

    foreign: it is another ledger's and is left alone. untold: why its message did not go out.
    """

    pod: str
    why: str
    job_id: str = ""
    provider: str = ""
    usd_per_hour: Decimal | None = None
    gone: bool | None = None
    foreign: bool = False
    untold: tuple[str, ...] = ()


def sentence(found: Reaped) -> str:
    """ "Pod br-1-1-ab at runpod: its job is over; it is ended"."""
    if found.foreign:
        return f"Pod {found.pod} at {found.provider}: {found.why}; it is left alone"
    ends = {None: "it would be ended", True: "it is ended", False: "IT IS STILL THERE and may bill"}
    untold = f" (not delivered: {'; '.join(found.untold)})" if found.untold else ""
    return f"Pod {found.pod} at {found.provider}: {found.why}; {ends[found.gone]}{untold}"


def accounts(ledger: Ledger) -> tuple[str, ...]:
    """The providers at which pods may run: without a key too, where books are open."""
    keyed = ledger.settings.runpod_api_key is not None
    rented = keyed or any(row.provider == "runpod" for row in ledger.open_attempts())
    return ("local", "runpod") if rented else ("local",)


def reap(
    ledger: Ledger, name: str, provider: ComputeProvider, clock: Clock, *, dry_run: bool = False
) -> tuple[Reaped, ...]:
    """End what must go at one provider, and tell. ProviderError: it does not answer."""
    pods = {pod.name: pod for pod in provider.list(OURS)}
    rows = known_attempts(ledger, name, pods)
    for row in rows.values():
        provider.learn(row.pod_name, row.pod_id)
    owner = ledger.owner()
    rules = ReaperRules(longest_hours=ledger.settings.longest_pod_hours, owner=owner)
    found = condemned(ledger, pods, rows, clock.now(), rules, dry_run=dry_run)
    described = {d.name: describe(d, name, pods, rows) for d in found}
    if not dry_run and found:
        ended = end_all(provider, list(described), clock)
        described = {
            pod: described[pod].model_copy(update={"gone": settle(ledger, rows.get(pod), end)})
            for pod, end in ended.items()
        }
        untold = tell(ledger, described, ended, clock.now())
        described = {
            pod: found.model_copy(update={"untold": tuple(untold.get(pod, ()))})
            for pod, found in described.items()
        }
    strange = [pod for pod in pods if pod not in rows and is_foreign(pod, owner)]
    return (*described.values(), *(left_alone(pods[pod], name) for pod in strange))


def left_alone(pod: Pod, provider: str) -> Reaped:
    """Another ledger's pod in the same account: shown, so that nobody is surprised by its bill."""
    why = "another ledger of this account has rented it"
    return Reaped(
        pod=pod.name, why=why, provider=provider, usd_per_hour=pod.usd_per_hour, foreign=True
    )


def known_attempts(ledger: Ledger, provider: str, pods: Iterable[str]) -> dict[str, AttemptRow]:
    """Attempts by pod: those of the pods in the list, and all whose books are open."""
    rows = ledger.open_attempts(also=pods)
    return {row.pod_name: row for row in rows if row.provider == provider}


def condemned(
    ledger: Ledger,
    pods: Mapping[str, Pod],
    rows: Mapping[str, AttemptRow],
    now: datetime,
    rules: ReaperRules,
    *,
    dry_run: bool,
) -> list[Doomed]:
    """Pods to end now. One that is in no list but in open books of a job that is over goes too:
    a list may be behind, and the books want to be closed."""
    books = {pod: books_of(ledger, row, now, listed=pod in pods) for pod, row in rows.items()}
    unseen = [p for p, known in books.items() if p not in pods and not known.attempt_ended]
    wanted = [Sighting(name=p, since=pod.created_at) for p, pod in pods.items()]
    wanted += [Sighting(name=p) for p in unseen if books[p].job_over or books[p].stop_failed]
    found = []
    for pod in doomed(wanted, books, now, rules):
        known = books.get(pod.name)
        over = known is not None and not known.job_over and exhausted(known, now, rules)
        if over and not dry_run and not had_time(ledger, pod, now):
            continue
        found.append(pod)
    return found


def had_time(ledger: Ledger, pod: Doomed, now: datetime) -> bool:
    """Whether a pod at its limit was asked to save and stop some time ago; asks it now if not.

    One that cannot be asked, because the storage is away, has had its time: it spends on.
    """
    try:
        folder = JobContext(ledger.settings, ledger, pod.job_id).folder
        asked = folder.stop_request()
        if asked is None:
            folder.request_stop("budget", f"the reaper: {pod.why}", now)
            return False
    except Exception as error:
        if not is_outage(error):
            raise
        return True
    return (now - datetime.fromisoformat(asked["at"])).total_seconds() > SAVING_SECONDS


def books_of(ledger: Ledger, row: AttemptRow, now: datetime, *, listed: bool) -> Books:
    """What ledger and lease say of an attempt."""
    job = JobContext(ledger.settings, ledger, row.job_id)
    known = ledger.job(row.job_id)
    asks = listed and row.ended_at is None and not known.at_rest
    return Books(
        job_id=row.job_id,
        launched_at=row.launched_at,
        attempt_ended=row.ended_at is not None,
        job_over=known.at_rest,
        stop_failed=row.outcome == STOP_FAILED,
        lease_until=lease_of(job) if asks else None,
        spent_usd=ledger.cost_so_far(row.job_id, now),
        limit_usd=known.hard_limit_usd,
    )


def lease_of(job: JobContext) -> datetime | None:
    """Until when the job's pod is driven; None when the storage does not say."""
    try:
        return job.lease_until
    except Exception as error:
        if not is_outage(error):
            raise
        return None


def describe(
    pod: Doomed, provider: str, pods: Mapping[str, Pod], rows: Mapping[str, AttemptRow]
) -> Reaped:
    """With the price by the provider's word, else by ours."""
    seen, row = pods.get(pod.name), rows.get(pod.name)
    price = seen.usd_per_hour if seen is not None else None
    if price is None and row is not None:
        price = row.usd_per_hour
    return Reaped(
        pod=pod.name, why=pod.why, job_id=pod.job_id, provider=provider, usd_per_hour=price
    )


def end_all(
    provider: ComputeProvider, pods: list[str], clock: Clock
) -> dict[str, Gone | StopFailed]:
    """Side by side: one that cannot be ended must not keep the others running."""

    def end(pod: str) -> Gone | StopFailed:
        try:
            return make_gone(provider, pod, clock)
        except StopFailed as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(pods, pool.map(end, pods), strict=True))


def settle(ledger: Ledger, row: AttemptRow | None, end: Gone | StopFailed) -> bool:
    """Write it down; whether the pod is gone."""
    if row is not None and row.ended_at is None:
        job = JobContext(ledger.settings, ledger, row.job_id)
        if isinstance(end, StopFailed):
            attempts.stop_failed(job, row, end)
        else:
            close(job, row, end)
    return isinstance(end, Gone)


def close(job: JobContext, row: AttemptRow, gone: Gone) -> None:
    """The books; where the run folder does not answer they wait for the next look."""
    try:
        attempts.close_books(job, row, gone)
    except Exception as error:
        if not is_outage(error):
            raise


def tell(
    ledger: Ledger,
    described: Mapping[str, Reaped],
    ended: Mapping[str, Gone | StopFailed],
    now: datetime,
) -> dict[str, list[str]]:
    """An event for each known job, one message for all pods that were ended, one for each not.

    Returns pod -> why its message did not go out.
    """
    lines: dict[str, str] = {}
    untold: dict[str, list[str]] = {}
    for found in described.values():
        end = ended[found.pod]
        if isinstance(end, StopFailed):
            if not found.job_id:
                untold[found.pod] = stray_stays(ledger, found, end, now)
            continue
        if not end.was_there:
            continue  # nothing ran: only its books were open
        lines[found.pod] = f"{found.pod} at {found.provider}: {found.why}"
        if found.job_id:
            said = {"code": "reaped", "message": f"The reaper ended pod {lines[found.pod]}"}
            JobContext(ledger.settings, ledger, found.job_id).note("warning", said)
    if lines:
        title = "Bright Run: the reaper ended " + ("a pod" if len(lines) == 1 else "pods")
        message = Message(title=title, lines=tuple(lines.values()), kind="stop_failed")
        untold |= dict.fromkeys(lines, post(ledger, message))
    return untold


def stray_stays(ledger: Ledger, found: Reaped, error: StopFailed, now: datetime) -> list[str]:
    """A pod of no job that cannot be ended: every channel, once a day; what went wrong."""
    said = partial(alerts.unstoppable, found.pod, found.provider, found.usd_per_hour, error)
    raised = put_out_once(ledger, found.pod, f"{now:%Y-%m-%d}", said)
    return send_raised(ledger, raised) if raised else []
