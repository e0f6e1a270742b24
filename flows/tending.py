"""Keep a worker running and look after jobs without a driver: for `make ui` and for a station."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType

import httpx

from brightrun.clock import SystemClock
from brightrun.errors import BrightRunError
from brightrun.ledger import Ledger
from brightrun.settings import Settings
from flows import reviving, run_states, sweeper, worker
from flows.silence import Silence
from flows.terminal import complain, say

SWEEP_SECONDS = 15.0
# A worker that starts while the server is away ends at once.
RESTART_SECONDS = 5.0
ALL = ""
QUEUES = (ALL, worker.CARE)


def tend(settings: Settings, api_url: str, mark: str, *, hands_over: bool = False) -> None:
    """Until Ctrl-C or SIGTERM. hands_over: its runs are left to the next worker, else they end."""
    workers = {queue: worker.start(mark, queue, hands_over=hands_over) for queue in QUEUES}
    silence = Silence()
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                workers[ALL].wait(SWEEP_SECONDS)
            for queue, process in workers.items():
                if process.poll() is not None:
                    say(f"A worker ended by itself ({process.returncode}); starting another one.")
                    time.sleep(RESTART_SECONDS)
                    workers[queue] = worker.start(mark, queue, hands_over=hands_over)
            sweep(settings, api_url, silence)
    finally:
        hold_signals()
        if hands_over:
            worker.drop(mark)
        else:
            say("Stopping: runs release their pods, then worker and server end (up to 30 s) ...")
            worker.stop(mark)
            sweep(settings, api_url, silence, last=True)


def sweep(settings: Settings, api_url: str, silence: Silence, *, last: bool = False) -> None:
    """Jobs without a driver go on or are closed; Prefect shows how jobs really ended.

    last: nobody works here any more, so what is left is closed at once.
    """
    try:
        ledger = Ledger.open(settings)
        if last:
            state_of = partial(run_states.state_of, api_url)
            closed = sweeper.sweep(ledger, state_of, driven=silence.driven)
        else:
            closed = swept(ledger, api_url, silence)
        for job_id in closed:
            say(f"Job {job_id} had no driver any more; its books are closed.")
        wrong, grace = run_states.unsettled(api_url), 0.0 if last else sweeper.GRACE_SECONDS
        sweeper.mend_states(ledger, wrong, partial(run_states.tell, api_url), grace)
    except (BrightRunError, httpx.HTTPError) as error:
        say(f"Sweeping is put off: {error}", "yellow")


def swept(ledger: Ledger, api_url: str | None, silence: Silence | None = None) -> list[str]:
    """Orphans go back into the queue of this server, others are closed: the ids of these.

    Without a server they are only closed. silence: of who sweeps again and again; one sweep alone
    leaves other machines' jobs to them.
    """
    if not api_url:
        return sweeper.sweep(ledger, lambda run: "")
    queue, driven = run_states.ServersQueue(api_url), (silence or Silence()).driven
    closed = sweeper.sweep(ledger, partial(run_states.state_of, api_url), queue, driven)
    runs = run_states.under_way(api_url, ledger.settings.pool)
    reviving.restart_unbegun(ledger, runs, SystemClock(), queue)
    return closed


def interrupted(number: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C: everything that was started is stopped."""
    raise KeyboardInterrupt


def until_stopped(work: Callable[[], None], said: str) -> None:
    """A program's whole work, until a signal ends it in good order; exit 1: why it cannot work."""
    obey_signals()
    try:
        work()
    except KeyboardInterrupt:
        hold_signals()
        say(said)
    except BrightRunError as error:
        complain(error, as_json=False)
        sys.exit(1)


def obey_signals() -> None:
    """From now on a signal that ends programs ends this one in good order."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)


def hold_signals() -> None:
    """A second Ctrl-C must not leave half of it running."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
