"""Commands backup and restore: ledger and run folders in another place, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Json

if TYPE_CHECKING:
    from brightrun.backup_place import Backup


def backup(
    place: Annotated[str, typer.Argument(help="Folder, or s3://BUCKET/PREFIX; not where jobs lie")],
    checkpoints: Annotated[
        bool, typer.Option(help="The largest part; without, an interrupted job begins anew.")
    ] = True,
    json: Json = False,
) -> None:
    """Copy ledger and run folders into a new folder below PLACE; jobs may run meanwhile.

    Example: `brightrun backup /mnt/backups`. Not in it: reports, Prefect's runs, keys, shares.
    """
    from brightrun import backup as copying
    from brightrun.backup_place import Place
    from brightrun.settings import load

    url = copying.make(load(), place, datetime.now(UTC), checkpoints=checkpoints)
    tell("Copied", url, Place(url).backup(), json)


def restore(
    place: Annotated[str, typer.Argument(help="What `brightrun backup` printed")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read all of the backup, and write nothing.")
    ] = False,
    run_folders: Annotated[
        bool, typer.Option(help="Without, where the storage was not lost.")
    ] = True,
    original_is_gone: Annotated[
        bool, typer.Option("--original-is-gone", help="Needed where RunPod's key is set.")
    ] = False,
    json: Json = False,
) -> None:
    """Make ledger and run folders again in an empty database and storage; nothing is overwritten.

    Stop everything first. Every file is held against its sha256, every row against the backup.
    """
    from brightrun import restoring
    from brightrun.settings import load

    if dry_run:
        found = restoring.check(place)
    else:
        found = restoring.restore(
            load(), place, run_folders=run_folders, original_is_gone=original_is_gone
        )
    tell("Is whole" if dry_run else "Restored", place, found, json)


def tell(verb: str, url: str, found: Backup, as_json: bool) -> None:
    from flows.terminal import emit, say
    from flows.terminal import tell as line

    facts = {
        "place": url, "made_at": found.made_at.isoformat(), "revision": found.revision,
        "rows": found.rows, "jobs": found.jobs, "files": len(found.files), "bytes": found.bytes,
        "left_out": list(found.left_out),
    }  # fmt: skip
    if as_json:
        emit(facts)
        return
    line(f"{verb}: {url}")
    line(
        f"{found.rows:,} rows of the ledger at revision {found.revision}, "
        f"{found.jobs} run folders, {found.bytes / 1e6:,.1f} MB"
    )
    if found.left_out:
        say(f"Removed while they were copied, so not in it: {len(found.left_out)}", "yellow")
