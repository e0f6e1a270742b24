"""Everything that jobs need, looked at and shown; what newly fails is told to people."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import doctor, doctor_daily, posting
from brightrun.findings import Check, Finding, counts
from brightrun.ledger import Ledger
from brightrun.settings import load
from tasks import artifacts, story


@task(name="doctor", cache_policy=NO_CACHE)
def examine(more: Mapping[str, Check]) -> list[dict[str, str]]:
    """The findings; a message goes out before they are remembered. more: checks of other floors."""
    found = doctor.diagnose(os.environ, more)
    rows = [one.model_dump() for one in found]
    artifacts.table("doctor", rows, "What jobs need, and how it stands")
    story.tell(f"Doctor: {', '.join(f'{n} {state}' for state, n in counts(found).items())}")
    tell(found)
    return rows


def tell(found: tuple[Finding, ...]) -> None:
    settings = load()
    home = settings.home.resolve()
    new = doctor_daily.fresh(found, doctor_daily.remembered(home))
    if new:
        said = doctor_daily.message(new)
        for line in (said.title, *said.lines):
            story.tell(line, story.WARNING)
        story.undelivered(posting.post(Ledger.open(settings), said, now=datetime.now(UTC)))
    doctor_daily.remember(home, found)
