"""A night whose run was killed or failed: it ends no more, so no morning report would tell of it.

tell(ledger, now) -> what could not be delivered; called every five minutes by the reaper's flow
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial

from brightrun import locking
from brightrun.adapters import NightRow
from brightrun.errors import ConfigurationError
from brightrun.ledger import Ledger
from brightrun.notify import Message
from brightrun.posting import put_out_once, send_raised
from brightrun.settings import Settings

QUIET = timedelta(minutes=30)  # between two jobs a night looks at files, large ones too
SCOPE = "night"


def alone(settings: Settings) -> AbstractContextManager[None]:
    """One night at a time on this machine, whoever started it."""
    refusal = ConfigurationError(
        "another nightly run is under way", fix="wait for it: `brightrun nightly --show`"
    )
    return locking.alone(settings.home.resolve() / "nightly.lock", lambda: refusal)


def broken_off(ledger: Ledger, now: datetime) -> tuple[NightRow, ...]:
    """Of the last nights those that nothing has been heard of for half an hour."""
    return ledger.silent_nights(now - QUIET)


def tell(ledger: Ledger, now: datetime) -> list[str]:
    """Of each such night once; not while one runs here, however long it looks at a file."""
    problems: list[str] = []
    for night in broken_off(ledger, now):
        if ledger.alert_told(SCOPE, night.night):
            continue
        try:
            with alone(ledger.settings):
                words = partial(worded, ledger, night)
                raised = put_out_once(ledger, SCOPE, night.night, words)
        except ConfigurationError:  # it is under way
            continue
        problems += send_raised(ledger, raised) if raised else []
    return problems


def worded(ledger: Ledger, night: NightRow) -> Message:
    states = Counter(str(status) for status in ledger.states_of_night(night.night))
    jobs = ", ".join(f"{n} {status}" for status, n in sorted(states.items())) or "none"
    again = "brightrun nightly (or the deployment nightly); else the next night does"
    return Message(
        title=f"Bright Run: the night of {night.night} did not end",
        lines=(
            f"Begun at {night.started_at:%H:%M} UTC; its run was ended or failed. Its jobs: {jobs}",
            f"See: brightrun jobs --text {night.night}; the run's page says why it ended",
            f"Go through its other files: {again}",
        ),
        kind="night",
    )
