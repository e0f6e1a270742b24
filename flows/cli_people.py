"""`brightrun people` and `brightrun digest`: who hears of what, and yesterday in one message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, get_args

import typer

from brightrun.counting import count
from flows.options import Json

SHOWN = timedelta(days=7)  # letters that were given up since; older ones are only counted


def people(json: Json = False) -> None:
    """Who hears of what, where: $BRIGHTRUN_HOME/people.toml, checked; and what is undelivered."""
    from brightrun.ledger import Ledger
    from brightrun.people import Kind, load_people, routes
    from brightrun.posting import BOTH, channels_of
    from brightrun.settings import load
    from flows.terminal import emit, say, table, tell

    settings = load()
    found, on = load_people(settings), channels_of(settings)
    ledger, since = Ledger.open(settings), datetime.now(UTC) - SHOWN
    stuck, older = (
        ledger.undelivered(since),
        ledger.given_up(datetime.min.replace(tzinfo=UTC), since),
    )
    if json:
        emit(
            {
                "people": [person.model_dump() for person in found],
                "channels": on,
                "undelivered": [{"title": letter.message["title"], "channel": letter.channel,
                                 "problem": problem, "given_up": letter.given_up}
                                for letter, problem in stuck],
                "given_up_earlier": older,
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
        after = "Given up" if letter.given_up else "Tried again later, not delivered"
        tries = count(letter.tries, "try", "tries")
        tell(f"{after} after {tries}: {letter.message['title']} ({problem})")
    if not routes(found, "approved", datetime.now(UTC), on or BOTH):
        say("Nobody hears of approvals: docs/notifications.md shows keeps_budget = true", "yellow")
    if older:
        tell(f"Given up more than {SHOWN.days} days ago: {count(older, 'message')}")


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
