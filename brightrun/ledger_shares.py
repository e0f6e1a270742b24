"""What was handed out, to whom and how it ended. Use these through `Ledger`.

A link is a secret and is never written down: `place` says where the object lies, and a new link to
it can be issued at any time before it expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select, update

from brightrun.errors import UsageError
from brightrun.ledger_schema_delivery import shares as table
from brightrun.ledger_store import Database


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One share. issued: links that were made; downloads: None where the storage does not say.

    issued 0: it was cut off, and nobody has a link; a file may lie there.
    revoked_at: when it was taken from its shelf, by a person or because it had expired.
    """

    share_id: str
    job_id: str
    kind: str
    recipient: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    storage: str
    place: str
    sha256: str
    report_id: str
    purpose: str
    overridden_by: str
    override_reason: str
    outcome: str
    outcome_note: str
    outcome_at: datetime | None
    issued: int
    downloads: int | None

    def state(self, now: datetime) -> str:
        """open, expired or revoked."""
        if self.revoked_at is not None and self.revoked_at < self.expires_at:
            return "revoked"
        return "expired" if now >= self.expires_at else "open"


def add_share(db: Database, row: ShareRow) -> ShareRow:
    """Write a share down, before anything is handed out."""
    values = {name: getattr(row, name) for name in ShareRow.__slots__}
    with db.write() as c:
        c.execute(table.insert().values(values))
    return share(db, row.share_id)


def share(db: Database, share_id: str) -> ShareRow:
    """One share; UsageError when there is none of this id."""
    with db.read() as c:
        found = c.execute(select(table).where(table.c.share_id == share_id)).one_or_none()
    if found is None:
        raise UsageError(f"there is no share {share_id!r}", fix="see `brightrun shares list`")
    return _row(found)


def list_shares(db: Database, job_id: str | None = None) -> tuple[ShareRow, ...]:
    """Newest first."""
    query = select(table).order_by(table.c.created_at.desc(), table.c.share_id)
    if job_id is not None:
        query = query.where(table.c.job_id == job_id)
    with db.read() as c:
        return tuple(map(_row, c.execute(query)))


def revoke_share(db: Database, share_id: str, at: datetime | None = None) -> ShareRow:
    """The first revocation stands."""
    mine = (table.c.share_id == share_id) & table.c.revoked_at.is_(None)
    with db.write() as c:
        c.execute(update(table).where(mine).values(revoked_at=at or datetime.now(UTC)))
    return share(db, share_id)


def count_issue(db: Database, share_id: str) -> ShareRow:
    """One more link was made."""
    with db.write() as c:
        mine = table.c.share_id == share_id
        c.execute(update(table).where(mine).values(issued=table.c.issued + 1))
    return share(db, share_id)


def note_downloads(db: Database, share_id: str, downloads: int) -> None:
    """At least so many; logs that were cleaned away take none back."""
    more = table.c.downloads.is_(None) | (table.c.downloads < downloads)
    with db.write() as c:
        mine = (table.c.share_id == share_id) & more
        c.execute(update(table).where(mine).values(downloads=downloads))


def settle_share(db: Database, share_id: str, outcome: str, note: str = "") -> ShareRow:
    """What came of it; the last word counts."""
    facts = {"outcome": outcome, "outcome_note": note, "outcome_at": datetime.now(UTC)}
    with db.write() as c:
        c.execute(update(table).where(table.c.share_id == share_id).values(facts))
    return share(db, share_id)


def _row(found: Row[Any]) -> ShareRow:
    return ShareRow(**found._mapping)
