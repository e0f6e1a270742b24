"""Remove from storage what the policy lets go, and what a client wants forgotten."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from brightrun import appfiles
from brightrun.context import JobContext, driver_name
from brightrun.errors import ConfigurationError, StorageError
from brightrun.history import HistoryRow, Wanted
from brightrun.ledger import JobRow, Ledger
from brightrun.retention import GB, IN_USE, Ended, Policy, Removal, removable
from brightrun.runfolder import RunFolder
from brightrun.shelves import shelf_of

KEPT = (
    "attempts, costs, approvals and the audit log, under another name and without the reasons: "
    "the books of the month",
    "verdicts as numbers, and what the parts took: without texts and names",
    "cost reports of a month for all clients, as they were issued: HTML and PDF, with its name",
)
ELSEWHERE = (
    "the training file itself: it is yours, where it lies (a copy that we fetched goes)",
    "runs in Prefect's own database: delete them in its pages",
    "messages that were sent, and packages and reports that were handed out",
    "a provider's network volumes, and backups",
)


def plan(ledger: Ledger, policy: Policy, now: datetime) -> tuple[list[Removal], int]:
    """What would go, largest first, and the bytes of all run folders that there are."""
    seen, total = seen_now(ledger, now), 0
    found: list[Removal] = []
    for row in ledger.history(Wanted(), now):
        parts = sizes(RunFolder(ledger.settings.storage, row.job_id))
        total += parts[""]
        found += removable(seen(row), parts, policy, now)
    return sorted(found, key=lambda removal: -removal.bytes), total


def seen_now(ledger: Ledger, now: datetime) -> Callable[[HistoryRow | JobRow], Ended]:
    """What the policy looks at in a job, with adapters and links as they are now."""
    stages = {row.job_id: row.stage.value for row in ledger.adapters()}
    shared = ledger.openly_shared(now)
    return lambda row: Ended(
        job_id=row.job_id,
        status=row.status,
        finished_at=row.finished_at,
        stage=stages.get(row.job_id, ""),
        shared=row.job_id in shared,
    )


def sizes(folder: RunFolder) -> dict[str, int]:
    """Bytes of a run folder and of its checkpoints; 0 for what is not there."""
    places = {"": folder.root, "checkpoints": folder.path("checkpoints")}
    return {
        name: int(folder.fs.du(place)) if folder.fs.exists(place) else 0
        for name, place in places.items()
    }


def carry_out(
    ledger: Ledger, removals: Sequence[Removal], policy: Policy, now: datetime
) -> list[Removal]:
    """Remove what may still go; returns that. What went is an event of its job.

    The plan may be minutes old: a job that somebody drives or has gone on with since is left alone,
    and nobody can begin to drive it meanwhile.
    """
    gone = []
    for removal in removals:
        job_id = removal.job_id
        with claimed(ledger, [job_id]) as mine:
            job = seen_now(ledger, now)(ledger.job(job_id))
            still = removable(job, {removal.what: removal.bytes}, policy, now)
            if not mine or removal.what not in [found.what for found in still]:
                continue
            remove(RunFolder(ledger.settings.storage, job_id), removal.what)
            said = f"removed {removal.what or 'the run folder'}: {removal.why}"
            JobContext(ledger.settings, ledger, job_id).note("choice", {"message": said})
            gone.append(removal)
    return gone


@contextmanager
def claimed(ledger: Ledger, job_ids: Iterable[str]) -> Iterator[list[str]]:
    """Nobody begins to drive these jobs meanwhile; gives those that nobody drives."""
    me = driver_name()
    mine = [job_id for job_id in job_ids if ledger.claim(job_id, me)]
    try:
        yield mine
    finally:
        for job_id in mine:
            ledger.release_claim(job_id, me)


def remove(folder: RunFolder, what: str) -> None:
    """A folder inside of the run folder, "" = all of it. Repeatable."""
    if what:
        folder.remove(what)
    elif folder.fs.exists(folder.root):
        folder.fs.rm(folder.root, recursive=True)


def usd_per_month(size: int, ledger: Ledger) -> Decimal:
    """What so many bytes cost to keep."""
    usd = ledger.settings.storage_usd_per_gb_month * size / GB
    return usd.quantize(Decimal("0.000001"))


def forget(ledger: Ledger, client: str, by: str, now: datetime, *, dry_run: bool) -> dict[str, Any]:
    """Remove a client's data, checkpoints, adapters, samples, reports; says what is kept and why.

    ConfigurationError: there is no such client, a job of it still runs, or a link is still open.
    StorageError: a file cannot be removed; the ledger then still knows whose it is: repeat it.
    """
    rows = ledger.history(Wanted(client=client), now)
    if not rows:
        raise ConfigurationError(
            f"no job was made for {client!r}", fix="see the column client of `brightrun jobs`"
        )
    ids = [row.job_id for row in rows]
    must_have_ended(client, [row.job_id for row in rows if row.finished_at is None])
    shelf, handed = shelf_of(ledger.settings), [s for s in ledger.shares() if s.job_id in ids]
    if left := [
        s.share_id
        for s in handed
        if s.state(now) == "open" or (s.revoked_at is None and s.storage != shelf.name)
    ]:
        raise ConfigurationError(
            f"what was shared of {client} still lies on its shelf: {', '.join(left)}",
            fix="brightrun shares revoke SHARE, for each of them",
        )
    used = [row.job_id for row in ledger.adapters() if row.stage in IN_USE and row.job_id in ids]
    size = sum(sizes(RunFolder(ledger.settings.storage, job_id))[""] for job_id in ids)
    said = {"client": client, "jobs": ids, "bytes": size, "adapters_in_use": used,
            "kept": list(KEPT), "not_ours": list(ELSEWHERE), "done": not dry_run}  # fmt: skip
    if dry_run:
        return said
    with claimed(ledger, ids) as mine:
        again = [i for i in ids if i not in mine or ledger.job(i).finished_at is None]
        must_have_ended(client, again)
        for share in handed:  # an expired link leaves its file behind, a revoked one does not
            if share.revoked_at is None:
                shelf.remove(share.place)
                ledger.revoke_share(share.share_id, now)
        for job_id in ids:
            remove(RunFolder(ledger.settings.storage, job_id), "")
        for place in pages_of(ledger, client, ids):
            take_away(place)
        ledger.forget_texts(client, ids, by, now)
    return said


def must_have_ended(client: str, running: Sequence[str]) -> None:
    if running:
        raise ConfigurationError(
            f"jobs of {client} have not ended: {', '.join(running)}",
            fix="cancel them first: brightrun cancel JOB",
        )


def pages_of(ledger: Ledger, client: str, ids: Sequence[str]) -> list[Path]:
    """What this home holds of the client: reports, copies of fetched files, and packages (those
    of earlier versions, and rooms whose making was killed)."""
    home = ledger.settings.home.resolve()
    rooms = [home / "reports" / job_id for job_id in ids]
    packed = [home / "packages" / name for i in ids for name in (i, f"{i}-package.zip")]
    packed += [place for job_id in ids for place in home.glob(f"package-{job_id}-*")]
    issued = [(home / "reports" / place).resolve() for place in ledger.report_folders(client, ids)]
    issued = [place for place in issued if home / "reports" in place.parents]
    copies = [Path(path).parent for path in ledger.own_files(ids)]
    copies = [place for place in copies if appfiles.room(ledger.settings) in place.parents]
    return rooms + packed + issued + copies


def take_away(place: Path) -> None:
    """A file or folder of this machine with all in it. StorageError: something of it stays."""
    try:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{place} cannot be removed: {error.strerror}", fix="mend its rights, then repeat"
        ) from error
