"""End pods that must not run, and tell."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import reaper
from brightrun.clock import SystemClock
from brightrun.compute import provider_of
from brightrun.ledger import Ledger
from brightrun.settings import load
from tasks import story


@task(name="reap", task_run_name="reap {provider}", cache_policy=NO_CACHE)
def reap(provider: str, dry_run: bool) -> list[dict[str, Any]]:
    """What had to go at one provider."""
    settings = load()
    account = provider_of(provider, settings)
    found = reaper.reap(Ledger.open(settings), provider, account, SystemClock(), dry_run=dry_run)
    for pod in found:
        story.tell(reaper.sentence(pod), story.INFO if pod.foreign else story.WARNING)
    return [pod.model_dump(mode="json") for pod in found]
