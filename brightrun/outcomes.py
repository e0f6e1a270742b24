"""How an attempt ended, read from its outcome in the ledger ("lost:never booted"). Pure.

One reading for all: recovery, interruption rates, books, reports.

    ending("stopped:sigterm") is Ending.taken
"""

from __future__ import annotations

from enum import StrEnum

STOP_FAILED = "stop_failed"
NEVER_STARTED = "never started"
NEVER_BOOTED = "never booted"
# A person or a limit ended the job: no new pod is rented for it.
FINAL_STOPS = ("cancel", "budget")
# Who stopped a pod that ended itself because its hours were over.
OWN_LIMIT = "the pod's own limit"
# Asked for, and the job goes on with another pod; superseded: another one has gone on already.
WANTED_STOPS = ("pause", "switch", "superseded")


class Ending(StrEnum):
    """taken: it worked and was lost, broke, or was told to go by its host. left: it stopped itself
    because nobody drove it. missed: no pod was to be had. unbooted: rented, and never spoke."""

    open = "open"
    done = "done"
    failed = "failed"
    missed = "missed"
    unbooted = "unbooted"
    taken = "taken"
    left = "left"
    wanted = "wanted"
    final = "final"


SIMPLE = {
    "": Ending.open,
    STOP_FAILED: Ending.open,
    "done": Ending.done,
    "failed": Ending.failed,
    f"lost:{NEVER_STARTED}": Ending.missed,
    f"lost:{NEVER_BOOTED}": Ending.unbooted,
    "stopped:lease": Ending.left,
    **{f"stopped:{reason}": Ending.final for reason in FINAL_STOPS},
    **{f"stopped:{reason}": Ending.wanted for reason in WANTED_STOPS},
}
# What people are told of as an interruption: a working pod went that nobody had asked to go.
INTERRUPTIONS = frozenset({Ending.taken, Ending.left})

# The same for a database, which cannot call `ending`: all but these and what begins with FAILED.
UNDISTURBED = tuple(name for name, how in SIMPLE.items() if how not in INTERRUPTIONS)
FAILED = "failed:"


def ending(outcome: str) -> Ending:
    """Of an attempt's outcome; a stop for a reason that is not known here counts as taken."""
    if outcome.startswith(FAILED):
        return Ending.failed
    return SIMPLE.get(outcome, Ending.taken)
