"""Commands about rented pods as such: reap."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.options import Json


def reap(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be ended; end nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """End every pod of ours that has no live job, is too old, or over its budget.

    Only pods whose names begin with `br-` are looked at; those of others are never touched, nor
    are those that another ledger of the same account has rented: they are shown. It takes a minute
    where a provider's word has to be confirmed, and ten where a pod stays.
    """
    from brightrun import reaper
    from brightrun.clock import SystemClock
    from brightrun.compute import provider_of
    from brightrun.errors import ConfigurationError, ProviderError
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows import server, tending
    from flows.terminal import complain, emit, say

    settings = load()
    ledger = Ledger.open(settings)
    found: list[reaper.Reaped] = []
    silent: dict[str, Any] = {}
    for name in reaper.accounts(ledger):
        try:
            account = provider_of(name, settings)
            found += reaper.reap(ledger, name, account, SystemClock(), dry_run=dry_run)
        except (ConfigurationError, ProviderError) as error:
            silent[name] = error.as_dict()
            complain(error, as_json=False)
    closed = [] if dry_run else tending.swept(ledger, server.shared_url(settings))
    if json:
        pods = [pod.model_dump(mode="json") for pod in found]
        emit({"dry_run": dry_run, "pods": pods, "closed_jobs": closed, "silent": silent})
    else:
        for pod in found:
            say(reaper.sentence(pod))
        for job_id in closed:
            say(f"Job {job_id} had no driver any more; its books are closed.")
        if all(pod.foreign for pod in found) and not silent:
            say("No pod of ours runs that should not.")
    if silent or any(pod.gone is False for pod in found):
        raise typer.Exit(1)
