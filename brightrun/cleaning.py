"""Remove from storage what the policy lets go, and what a client wants forgotten."""

from __future__ import annotations

import shutil
from datetime import datetime
from decimal import Decimal
from typing import Any

from brightrun.errors import ConfigurationError
from brightrun.history import Wanted
from brightrun.ledger import Ledger
from brightrun.retention import GB, IN_USE, Ended, Policy, Removal, removable
from brightrun.runfolder import RunFolder

KEPT = (
    "attempts, costs, approvals and the audit log, under another name: the books of the month",
    "verdicts as numbers, and what the parts took: without texts and names",
)
ELSEWHERE = (
    "the training file itself: it is yours, where it lies",
    "runs in Prefect's own database: delete them in its pages",
    "messages that were sent, and packages and reports that were handed out",
    "a provider's network volumes, and backups",
)


def plan(ledger: Ledger, policy: Policy, now: datetime) -> tuple[list[Removal], int]:
    """What would go, largest first, and the bytes of all run folders that there are."""
    stages = {row.job_id: row.stage.value for row in ledger.adapters()}
    shared, total = ledger.openly_shared(now), 0
    found: list[Removal] = []
    for row in ledger.history(Wanted(), now):
        parts = sizes(RunFolder(ledger.settings.storage, row.job_id))
        total += parts[""]
        job = Ended(
            job_id=row.job_id,
            status=row.status,
            finished_at=row.finished_at,
            stage=stages.get(row.job_id, ""),
            shared=row.job_id in shared,
        )
        found += removable(job, parts, policy, now)
    return sorted(found, key=lambda removal: -removal.bytes), total


def sizes(folder: RunFolder) -> dict[str, int]:
    """Bytes of a run folder and of its checkpoints; 0 for what is not there."""
    places = {"": folder.root, "checkpoints": folder.path("checkpoints")}
    return {
        name: int(folder.fs.du(place)) if folder.fs.exists(place) else 0
        for name, place in places.items()
    }


def carry_out(ledger: Ledger, removals: list[Removal]) -> None:
    """Remove them; repeatable. What went is an event of its job."""
    for removal in removals:
        folder = RunFolder(ledger.settings.storage, removal.job_id)
        if removal.what:
            folder.remove(removal.what)
        elif folder.fs.exists(folder.root):
            folder.fs.rm(folder.root, recursive=True)


def usd_per_month(size: int, ledger: Ledger) -> Decimal:
    """What so many bytes cost to keep."""
    usd = ledger.settings.storage_usd_per_gb_month * size / GB
    return usd.quantize(Decimal("0.000001"))


def forget(ledger: Ledger, client: str, by: str, now: datetime, *, dry_run: bool) -> dict[str, Any]:
    """Remove a client's data, checkpoints, adapters, samples, reports; says what is kept and why.

    ConfigurationError: there is no such client, a job of it still runs, or a link is still open.
    """
    rows = ledger.history(Wanted(client=client), now)
    if not rows:
        raise ConfigurationError(
            f"no job was made for {client!r}", fix="see the column client of `brightrun jobs`"
        )
    running = [row.job_id for row in rows if row.finished_at is None]
    if running:
        raise ConfigurationError(
            f"jobs of {client} have not ended: {', '.join(running)}",
            fix="cancel them first: brightrun cancel JOB",
        )
    ids = [row.job_id for row in rows]
    if open_links := sorted(ledger.openly_shared(now) & set(ids)):
        raise ConfigurationError(
            f"links to jobs of {client} are still open: {', '.join(open_links)}",
            fix="revoke them first",
        )
    used = [row.job_id for row in ledger.adapters() if row.stage in IN_USE and row.job_id in ids]
    size = sum(sizes(RunFolder(ledger.settings.storage, job_id))[""] for job_id in ids)
    said = {"client": client, "jobs": ids, "bytes": size, "adapters_in_use": used,
            "kept": list(KEPT), "not_ours": list(ELSEWHERE), "done": not dry_run}  # fmt: skip
    if dry_run:
        return said
    home = ledger.settings.home.resolve()
    carry_out(ledger, [Removal(job_id=i, what="", bytes=0, why="forgotten") for i in ids])
    for job_id in ids:
        for room in ("reports", "packages"):
            shutil.rmtree(home / room / job_id, ignore_errors=True)
    for place in ledger.forget_texts(client, ids, by, now):
        inside = (home / "reports" / place).resolve()
        if inside.is_relative_to(home / "reports") and inside != home / "reports":
            shutil.rmtree(inside, ignore_errors=True)
    return said
