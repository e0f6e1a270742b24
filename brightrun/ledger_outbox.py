"""What is to be told to whom, until it is delivered. Use through `Ledger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, func, select, update

from brightrun.ledger_outbox_schema import outbox, threads
from brightrun.ledger_store import Database, insert
from brightrun.people import Route

# Minutes to the next try; after the last one it is given up, with its problem on record.
PAUSES = (1, 5, 15, 60, 240, 720)
TAKEN_SECONDS = 300  # a sender that died is followed by another one after so long


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to one address. tries: how often it was sent in vain."""

    id: int
    key: str
    channel: str
    address: str
    job_id: str
    message: dict[str, Any]
    created_at: datetime
    tries: int

    @property
    def given_up(self) -> bool:
        return self.tries > len(PAUSES)


def put_out(
    db: Database,
    key: str,
    message: Mapping[str, Any],
    routes: Sequence[Route],
    *,
    job_id: str,
    at: datetime,
) -> None:
    """Write a message down for each address that has not had this key."""
    with db.write() as c:
        for route in routes:
            values = {
                "key": key,
                "channel": route.channel,
                "address": route.address,
                "job_id": job_id,
                "message": dict(message),
                "created_at": at,
                "due_at": route.due,
                "tries": 0,
                "problem": "",
            }
            c.execute(insert(c, outbox).values(values).on_conflict_do_nothing())


def take_due(db: Database, now: datetime, key: str = "") -> Letter | None:
    """The letter that waits longest for its next try; nobody else is given it for five minutes.

    Those that were tried already wait from their last pause on: a dead channel holds up no other.
    """
    o = outbox.c
    due = o.sent_at.is_(None) & (o.due_at <= now) & (o.tries <= len(PAUSES))
    if key:
        due &= o.key == key
    with db.write() as c:
        query = select(outbox).where(due).order_by(o.due_at, o.id).limit(1)
        row = c.execute(query.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        later = now + timedelta(seconds=TAKEN_SECONDS)
        c.execute(update(outbox).where(o.id == row.id).values(due_at=later))
    return _letter(row)


def delivered(db: Database, letter: Letter, now: datetime) -> None:
    """It has arrived."""
    with db.write() as c:
        mine = outbox.c.id == letter.id
        c.execute(update(outbox).where(mine).values(sent_at=now, problem=""))


def not_delivered(db: Database, letter: Letter, problem: str, now: datetime) -> None:
    """It is tried again after a pause; after the last one due_at is when it was given up."""
    pause = PAUSES[letter.tries] if letter.tries < len(PAUSES) else 0
    facts = {
        "tries": letter.tries + 1,
        "problem": problem,
        "due_at": now + timedelta(minutes=pause),
    }
    with db.write() as c:
        c.execute(update(outbox).where(outbox.c.id == letter.id).values(facts))


def given_up(db: Database, first: datetime, after: datetime) -> int:
    """How many letters were given up within [first, after)."""
    o = outbox.c
    lost = o.sent_at.is_(None) & (o.tries > len(PAUSES))
    query = select(func.count()).where(lost, o.due_at >= first, o.due_at < after)
    with db.read() as c:
        return int(c.execute(query).scalar_one())


def undelivered(db: Database, since: datetime) -> tuple[tuple[Letter, str], ...]:
    """Letters that were sent in vain and their last problem, newest first; of those that were given
    up only what was since then."""
    o = outbox.c
    counts = (o.tries <= len(PAUSES)) | (o.due_at >= since)
    query = select(outbox).where(o.sent_at.is_(None), o.tries > 0, counts)
    with db.read() as c:
        return tuple((_letter(r), r.problem) for r in c.execute(query.order_by(outbox.c.id.desc())))


def _letter(r: Row[Any]) -> Letter:
    return Letter(r.id, r.key, r.channel, r.address, r.job_id, r.message, r.created_at, r.tries)


def thread_of(db: Database, job_id: str, address: str) -> str:
    """Slack's name for a job's thread in a channel, "" before there is one."""
    mine = (threads.c.job_id == job_id) & (threads.c.address == address)
    with db.read() as c:
        return str(c.execute(select(threads.c.ts).where(mine)).scalar() or "")


def begin_thread(db: Database, job_id: str, address: str, ts: str) -> None:
    """The job's first message there is its thread; a second one that came at once is not."""
    with db.write() as c:
        row = insert(c, threads).values(job_id=job_id, address=address, ts=ts)
        c.execute(row.on_conflict_do_nothing())
