"""A container that its host has started again: an attempt has one life. Standard library only.

RunPod starts a container again when its main process ends. The second life would train what is done
already, or write events over those of the first; the control plane rents a new attempt instead.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from trainer.outbox import Outbox

# A storage that hangs must not keep a pod that has failed longer than that.
LAST_WORDS_SECONDS = 15.0
MARKERS = DONE, FAILED, STOPPED = "_DONE", "_FAILED.json", "_STOPPED.json"
RESTARTED: dict[str, Any] = {
    "code": "spot_interrupted",
    "message": "restarted by its host",
    "cause": "the container's main process was killed, for want of memory or with its host",
    "fix": "nothing: another pod goes on from the newest checkpoint",
    "adjustment": {},
}


def earlier(names: Collection[str]) -> str:
    """What the attempt's folder says: "ended", "begun", or "" for a first life. Pure."""
    if any(name in MARKERS for name in names):
        return "ended"
    return "begun" if any(name.startswith(("events-", "log-")) for name in names) else ""


def found(outbox: Outbox, attempt: str) -> str:
    """`earlier` of the attempt's folder; "" where the storage does not say for 10 minutes.

    A storage that is away just now must not make a second life of an attempt look like its first.
    """
    try:
        return earlier(outbox.names(attempt))
    except Exception as error:  # noqa: BLE001 any storage's own
        print(f"an earlier life of this attempt is not known yet: {error}", file=sys.stderr)
    try:
        from brightrun.clock import SystemClock
        from brightrun.outages import waited_out

        return earlier(waited_out(SystemClock(), lambda: outbox.names(attempt)))
    except Exception as error:  # noqa: BLE001 what follows says why it is away
        print(f"an earlier life of this attempt is not known: {error}", file=sys.stderr)
        return ""


def end(outbox: Outbox, attempt: str, life: str) -> int:
    """Say so where the first life could not, and do nothing more."""
    print(f"this attempt has {life} before: the host has started its container again")
    if life == "begun":
        outbox.put_json(f"{attempt}/{FAILED}", RESTARTED)
    return 0 if life == "ended" else 1
