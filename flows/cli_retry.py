"""`brightrun retry`: a new job from an earlier one, with what its error suggests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Job, Json, Sets

if TYPE_CHECKING:
    from brightrun.retrying import Proposal


def retry(
    job: Job,
    accept_suggestions: Annotated[
        bool, typer.Option("--accept-suggestions", help="Take what the error suggests.")
    ] = False,
    set_: Sets = None,
    requested_by: Annotated[
        str, typer.Option(help="Who asks. Default: git's user.name or the system's user.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Submit to the deployment (`make ui`) and return.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Agree to the difference and to the estimate.")
    ] = False,
    json: Json = False,
) -> None:
    """Try an ended job again as a new one: shows the difference, asks, links it to its parent.

    `train --resume JOB` goes on with the same values instead, and pays only what is left.
    Example: `brightrun retry 261122-ab12cd --accept-suggestions --set epochs=2`
    """
    from brightrun import retrying
    from brightrun.context import open_job
    from flows import running
    from flows.cli_decide import finish, whoami
    from flows.cli_train import begin
    from flows.options import overrides_of
    from flows.terminal import emit, say

    known = open_job(job)
    found = retrying.of_job(
        known.ledger.job(known.job_id),
        overrides_of(set_),
        accept=accept_suggestions,
        requested_by=requested_by or whoami(),
        agreed=yes,
    )
    show(known.job_id, found)
    if dry_run:
        if json:
            emit(
                {
                    "parent": known.job_id,
                    "changes": [change.model_dump() for change in found.changes],
                    "open": [change.model_dump() for change in found.open],
                    "by_pod": found.by_pod,
                }
            )
        return
    if not (yes or (sys.stdin.isatty() and typer.confirm("Start this job?", err=True))):
        say("Nothing was started; add --yes to agree.", "yellow")
        raise typer.Exit(3)
    job_id = begin(found.request, json, detach=detach, about=f", a retry of {known.job_id}")
    known.ledger.create_job(job_id, found.request, parent_job_id=known.job_id)
    if detach:
        emit(running.submit(found.request, job_id))
        return
    finish(running.run(found.request, job_id, yes=yes), json)


def show(parent: str, found: Proposal) -> None:
    """The difference as a person reads it: `learning_rate: 0.0002 -> 0.0001`."""
    from flows.terminal import say

    say(f"Retry of {parent}: " + ("" if found.changes else "the same values again"))
    for change in found.changes:
        say(f"  {change}")
    for change in found.open:
        say(f"  Suggested and not taken: {change}; take it with --accept-suggestions", "yellow")
    if found.by_pod:
        say(f"  {found.by_pod}")
