"""Make a pod surely gone: asked for again and again, believed when it is not seen twice.

A provider may accept an end and ignore it, or not know a pod that appears later: only two looks
that find nothing, some time apart, and nothing in between that found it, count as gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from brightrun.clock import Clock
from brightrun.compute.provider import Manners, Pod
from brightrun.errors import ProviderError, StopFailed
from brightrun.frozen import Frozen

STOP_FAILED_AFTER = timedelta(minutes=10)
PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


class Ending(Protocol):
    """What is needed of a `ComputeProvider`."""

    @property
    def manners(self) -> Manners: ...
    def find(self, name: str) -> Pod | None: ...
    def terminate(self, name: str) -> None: ...


class Look(Frozen):
    """One look for a pod; seen None: no answer, which says nothing."""

    at: datetime
    seen: bool | None


def gone_since(looks: Sequence[Look], gap: timedelta) -> datetime | None:
    """When the pod was first not seen, once that is confirmed `gap` later; else None. Pure."""
    absent: list[datetime] = []
    for look in reversed(looks):
        if look.seen:
            break
        if look.seen is False:
            absent.append(look.at)
    if not absent or absent[0] - absent[-1] < gap:
        return None
    return absent[-1]


def failing(looks: Sequence[Look]) -> bool:
    """Whether the state is STOP_FAILED: 10 minutes ago a look did not find it absent, and no look
    has since the pod was last seen, that may yet be confirmed. Pure."""
    doubted = next((look.at for look in looks if look.seen is not False), None)
    if doubted is None or looks[-1].at - doubted < STOP_FAILED_AFTER:
        return False
    since = looks[-1].at - STOP_FAILED_AFTER
    for look in reversed(looks):
        if look.seen or look.at < since:
            break
        if look.seen is False:
            return False
    return True


class Gone(Frozen):
    """since: from when on it was not seen any more; was_there: it was seen, or may have been.

    pod_id: the provider's id of it, "" when no look found it.
    """

    since: datetime
    was_there: bool
    pod_id: str = ""


def make_gone(provider: Ending, name: str, clock: Clock) -> Gone:
    """End a pod and see that it is gone.

    StopFailed after 10 minutes: the caller tells everybody and somebody goes on trying.
    """
    gap, tries = timedelta(seconds=provider.manners.gone_gap_s), 0
    looks: list[Look] = []
    trouble = "the provider accepts the end and the pod stays"
    was_there, pod_id = is_there(provider, name)
    while True:
        seen: bool | None = None
        try:
            provider.terminate(name)
        except ProviderError as error:
            trouble = error.message
        try:
            pod = provider.find(name)
            seen, pod_id = pod is not None, pod_id or (pod.provider_id if pod else "")
        except ProviderError as error:
            trouble = error.message
        looks.append(Look(at=clock.now(), seen=seen))
        if (since := gone_since(looks, gap)) is not None:
            there = was_there or any(look.seen for look in looks)
            return Gone(since=since, was_there=there, pod_id=pod_id)
        if failing(looks):
            raise StopFailed(
                f"pod {name} could not be ended in 10 minutes and may go on billing: {trouble}",
                cause="the provider does not answer, or does not do what it says",
                fix=f"end pod {name} in the provider's console; it is tried again until it is gone",
            )
        pause = PAUSES[min(tries, len(PAUSES) - 1)]
        clock.sleep(max(pause, provider.manners.gone_gap_s if seen is False else 0.0))
        tries += 1


def is_there(provider: Ending, name: str) -> tuple[bool, str]:
    """Whether it may be there, and its id; a provider that does not say may have it."""
    try:
        pod = provider.find(name)
    except ProviderError:
        return True, ""
    return pod is not None, pod.provider_id if pod else ""
