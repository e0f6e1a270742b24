"""Commands that steer a job that runs: pause, switch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from flows.cli_decide import whoami
from flows.options import Job, Json

By = Annotated[str, typer.Option(help="Who asks. Default: git or system user.")]


def pause(job: Job, by: By = "", json: Json = False) -> None:
    """Save a checkpoint and release the GPU; `train --resume` goes on later."""
    from brightrun import steering
    from brightrun.context import open_job
    from brightrun.ledger import Status
    from brightrun.remains import kept
    from flows import sweeper, ui_runs
    from flows.terminal import emit, say

    known = open_job(job)
    steering.pause(known, by or whoami())
    now = datetime.now(UTC)
    ended = sweeper.end_undriven(known, Status.paused)
    if ended:  # after it: a sweep between the two would take the run's end for a cancel
        run = known.ledger.job(known.job_id).flow_run_id
        ui_runs.cancel_waiting(run, "paused in the terminal")
    told = kept(known, now)
    if json:
        status = str(known.ledger.job(known.job_id).status)
        emit({"job_id": known.job_id, "status": status, "kept": told})
    verb = "Paused" if ended else "Pausing"
    if not ended and (row := known.ledger.job(known.job_id)).is_final:
        say(f"Already {row.status}: {known.job_id}: {told}.")
        return
    say(f"{verb} {known.job_id}: {told}.")
    say(f"Go on with: brightrun train --resume {known.job_id}")


def switch(
    job: Job,
    market: Annotated[
        str, typer.Argument(help="spot | on_demand. Left out: compare them, change nothing.")
    ] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """Go on with a job on another market; shows the markets side by side."""
    from brightrun import steering
    from brightrun.context import open_job
    from brightrun.errors import UsageError
    from brightrun.jobs import Market
    from flows.terminal import emit, say

    if market and market not in set(Market):
        raise UsageError(f"no market {market!r}", fix=f"one of: {', '.join(Market)}")
    known = open_job(job)
    facts = steering.compared(known, datetime.now(UTC))
    if not json:
        show(facts)
    facts["switched"] = steering.switch(known, Market(market), by or whoami()) if market else ""
    if json:
        emit(facts)
    elif market:
        say(f"Job {known.job_id}: {facts['switched']}.")


def prioritize(
    job: Job,
    priority: Annotated[
        int, typer.Argument(min=-100, max=100, help="Higher goes first; 0 = usual")
    ],
    by: By = "",
    json: Json = False,
) -> None:
    """Move a job in the queue for GPUs (BRIGHTRUN_GPU_QUOTA)."""
    from brightrun import turns
    from brightrun.context import open_job
    from flows.terminal import emit, say

    known = open_job(job)
    turns.prioritize(known, priority, by or whoami())
    place = turns.place_of(known)
    if json:
        emit({"job_id": known.job_id, "priority": priority, "place": place and place.model_dump()})
    waits = turns.sentence(place) if place else "it does not wait for a GPU now"
    say(f"Job {known.job_id} has priority {priority}; {waits}.")


def show(facts: dict[str, Any]) -> None:
    """Costs and finish of what is left, market by market."""
    from brightrun import steering
    from flows.terminal import money, span, table, tell

    def row(m: dict[str, Any]) -> tuple[str, ...]:
        cost, hours = m["cost_usd"], m["left_hours"]
        here = " (now)" if m["market"] == facts["runs_on"] else ""
        return (
            f"{m['market']}{here}",
            f"{money(m['usd_per_hour'])}/h",
            f"{money(cost['likely'])} ({money(cost['low'])}-{money(cost['high'])})",
            span(hours["likely"] * 3600),
            m["finish"]["likely"][:16].replace("T", " "),
            steering.interrupted(m["interruptions_per_hour"]),
        )

    columns = ("market", "price", "still to pay", "left", "done (UTC)", "interruptions")
    table(f"Job {facts['job_id']}", columns, map(row, facts["markets"]), keep=columns)
    for name in facts["not_offered"]:
        tell(f"{name}: not offered")
    for source in dict.fromkeys(m["price_source"] for m in facts["markets"]):
        tell(f"Price: {source}")
    tell(f"{money(facts['spent_usd'])} spent so far. {facts['recommendation']['why']}.")
