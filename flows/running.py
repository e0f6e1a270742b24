"""A job from the terminal: run here with its gate, or handed to the deployment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from brightrun.errors import BrightRunError, ConfigurationError
from flows.cli_decide import whoami
from flows.lifecycle_ids import STOPPED_BY_HAND

if TYPE_CHECKING:
    from brightrun.jobs import JobRequest
    from brightrun.settings import Settings


def run(request: JobRequest, job_id: str, *, yes: bool) -> dict[str, Any]:
    """Run the flow in this process; at the gate show the estimate and ask."""
    from brightrun.settings import load
    from flows import server
    from flows.screen import Screen

    stop_like_ctrl_c()
    with stopping_is_told(job_id), Screen(job_id) as screen:
        screen.note("Starting Prefect (10-20 s, longer the first time)")
        server.ensure(load())
        from flows.finetune import finetune

        screen.note("")
        found = driven(finetune, request, job_id)
    if found["status"] != "awaiting_approval":
        return found
    with stopping_is_told(job_id):
        go_on = agreed(job_id, yes=yes, told=screen.told)
    if not go_on:
        return found
    with stopping_is_told(job_id), Screen(job_id, told=True):
        return driven(finetune, request, job_id)


def agreed(job_id: str, *, yes: bool, told: bool) -> bool:
    """Show the gate's question and take the answer; False: the job waits.

    told: the estimate stands on the screen already.
    """
    from flows.terminal import say

    question = show_gate(job_id, told=told)
    if question["action"] == "approve":
        say(f"An approval is needed: brightrun approve {job_id} --approver NAME", "yellow")
        say(f"Then: brightrun train --resume {job_id}")
        return False
    if not (yes or (sys.stdin.isatty() and typer.confirm("Go on?", err=True))):
        say(f"Waiting. Go on with: brightrun train --resume {job_id} --yes", "yellow")
        return False
    agree(job_id, whoami(), "in the terminal, by --yes" if yes else "in the terminal")
    return True


def stop_like_ctrl_c() -> None:
    """Signals that are ignored (`nohup`) stay so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupted)


def interrupted(number: int, frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP are Ctrl-C: the pod is released and the job's end written down."""
    raise KeyboardInterrupt


@contextmanager
def stopping_is_told(job_id: str) -> Iterator[None]:
    """Stopped before or between the flow's own work: say where the job stands."""
    from flows.terminal import say

    try:
        yield
    except (KeyboardInterrupt, typer.Abort):
        if exists(job_id):
            say(f"Stopped. Go on with: brightrun train --resume {job_id}", "yellow")
        else:
            say(f"Stopped before job {job_id} began: nothing was written or spent.", "yellow")
        raise typer.Exit(1) from None


def exists(job_id: str) -> bool:
    from brightrun.context import open_job

    try:
        open_job(job_id)
    except ConfigurationError:
        return False
    return True


def driven(
    flow: Callable[[JobRequest, str], Any], request: JobRequest, job_id: str
) -> dict[str, Any]:
    """The flow's result; a failed or cancelled job is a result too, with its error in it."""
    from flows.outcome import summary

    try:
        return dict(flow(request, job_id))
    except BrightRunError as error:
        if "BRIGHTRUN_DEBUG" in os.environ or not ended_by(error.message, job_id):
            raise
        return summary(job_id)
    except KeyboardInterrupt:
        if not ended_by(STOPPED_BY_HAND, job_id):
            raise
        return summary(job_id)


def ended_by(message: str, job_id: str) -> bool:
    """Whether the error of this message ended the job (and not, say, a second driver's)."""
    from brightrun.context import open_job

    try:
        row = open_job(job_id).ledger.job(job_id)
    except ConfigurationError:
        return False
    return row.is_final and row.error is not None and row.error["message"] == message


def show_gate(job_id: str, *, told: bool) -> dict[str, Any]:
    """What the job would cost and why a person is asked."""
    from brightrun.context import open_job
    from flows.screen import say_estimate
    from flows.terminal import say

    job = open_job(job_id)
    question = job.folder.read_json("question.json")
    if not told:
        say_estimate(job.folder.read_json("estimate.json"))
    for line in (*question.get("differs", ()), *question["reasons"]):
        say(f"  {line}")
    for warning in question["warnings"]:
        say(f"  Warning: {warning}", "yellow")
    return dict(question)


def agree(job_id: str, who: str, note: str) -> None:
    from brightrun.context import open_job

    open_job(job_id).ledger.add_approval(job_id, approved=True, approver=who, note=note)


def server_for(settings: Settings) -> None:
    """ConfigurationError: `make ui` does not run, so there is nobody to hand a job to."""
    from flows import server

    if server.shared_url(settings) is None:
        raise ConfigurationError(
            "no Prefect server is running for this checkout", fix="start it with `make ui`"
        )


def submit(request: JobRequest, job_id: str) -> dict[str, Any]:
    """Hand the job to the deployment of a running `make ui`; the ledger knows it from now on."""
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows import server

    settings = load()
    server_for(settings)
    server.ensure(settings)
    from flows.handing import hand_over

    ledger = Ledger.open(settings)
    ledger.create_job(job_id, request)
    page, _ = server.run_page(settings, str(hand_over(ledger, request, job_id)))
    return {"job_id": job_id, "flow_run_url": page}
