"""`brightrun people` and `brightrun digest`: who hears of what, and yesterday in one message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, get_args

import typer

from flows.options import Json


def people(json: Json = False) -> None:
    """Who hears of what, where: $BRIGHTRUN_HOME/people.toml, checked; and what is undelivered."""
    from brightrun.ledger import Ledger
    from brightrun.people import Kind, load_people
    from brightrun.posting import channels_of
    from brightrun.settings import load
    from flows.terminal import emit, table, tell

    settings = load()
    found, on = load_people(settings), channels_of(settings)
    stuck = Ledger.open(settings).undelivered()
    if json:
        emit(
            {
                "people": [person.model_dump() for person in found],
                "channels": on,
                "undelivered": [{"title": letter.message["title"], "channel": letter.channel,
                                 "problem": problem} for letter, problem in stuck],
            }
        )  # fmt: skip
        return
    tell(f"Channels that are configured: {', '.join(on) or 'none'}")
    cells = [
        (kind, *(" ".join(person.channels(kind)) or "-" for person in found))
        for kind in get_args(Kind)
    ]
    table("Who hears of what", ("event", *(person.name for person in found)), cells)
    for letter, problem in stuck:
        tell(f"Not delivered after {letter.tries} tries: {letter.message['title']} ({problem})")


def digest(
    send: Annotated[bool, typer.Option("--send", help="Send it, once a day.")] = False,
    json: Json = False,
) -> None:
    """Yesterday: what ended, what runs and waits, and the month's money."""
    from brightrun import digest as digests
    from brightrun import posting
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.terminal import emit, say, tell

    now, ledger = datetime.now(UTC), Ledger.open(load())
    found = digests.digest(ledger, now)
    if send:
        for problem in posting.post(ledger, digests.message(found), f"digest:{found['day']}"):
            say(f"Not delivered: {problem}", "yellow")
    if json:
        emit(found)
        return
    said = digests.message(found)
    for line in (said.title, *said.lines):
        tell(line)
