"""Ledger and run folders made again from a backup, into places that hold neither."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sqlalchemy import Connection, Engine

from brightrun import ledger_store
from brightrun.backup_place import OTHER_BACKUP, Backup, Place, manifests_last, unpacked
from brightrun.errors import ConfigurationError, StorageError
from brightrun.ledger_dump import content, has_rows, insert_lines, lines, number_on, tables
from brightrun.runfolder import RunFolder, sha256_file
from brightrun.settings import Settings


def check(url: str) -> Backup:
    """Read every file of a backup. StorageError: one is missing or damaged."""
    place = Place(url)
    backup = place.backup()
    with tempfile.TemporaryDirectory(prefix="brightrun-backup-") as room:
        for name, stored in backup.files.items():
            place.get(name, stored, Path(room) / "file")
            if stored.content and content(unpacked(Path(room) / "file")) != stored.content:
                raise StorageError(f"{url}/{name} has other rows than it had", fix=OTHER_BACKUP)
    return backup


def restore(
    settings: Settings, url: str, *, run_folders: bool = True, original_is_gone: bool = False
) -> Backup:
    """Run folders, then the ledger, into places that hold neither; may be repeated after a failure.

    run_folders: False where the storage was not lost; original_is_gone: nobody works with the
    ledger that was copied. The rows are read back and compared before they are committed. Nothing
    is overwritten:
    ConfigurationError: the ledger has rows, or the copy could end the original's pods.
    StorageError: the storage holds another object of that name, or the backup is damaged.
    """
    if settings.runpod_api_key and not original_is_gone:
        raise ConfigurationError(
            "the copy would end pods that the original works with",
            cause="both have one name at RunPod, and a reaper ends what its own ledger lacks",
            fix="rehearse without BRIGHTRUN_RUNPOD_API_KEY; where the original is lost: "
            "--original-is-gone",
        )
    place = Place(url)
    backup = place.backup()
    ledger_store.require_known(backup.revision)
    engine, found = ledger_store.standing(settings)
    _must_be_empty(engine, found, backup.revision)
    with tempfile.TemporaryDirectory(prefix="brightrun-backup-") as room:
        file = Path(room) / "file"
        for name in sorted(backup.files, key=manifests_last):
            if run_folders and name.startswith("jobs/"):
                place.get(name, backup.files[name], file)
                _folder_in(settings.storage, name, file)
        ledger_store.migrate(engine, settings, backup.revision)
        with ledger_store.transaction(engine, write=True) as connection:
            _ledger_in(connection, place, backup, file)
    ledger_store.migrate(engine, settings)
    return backup


def _must_be_empty(engine: Engine, found: str | None, wanted: str) -> None:
    if found is None:
        return
    with ledger_store.transaction(engine, write=False) as connection:
        full = [t.name for t in tables(connection) if has_rows(connection, t)]
    if full or found != wanted:
        raise ConfigurationError(
            f"the ledger is not empty: {len(full)} tables have rows" if full
            else f"the ledger is at revision {found}, the backup at {wanted}",
            fix="restore into a new database: another DATABASE_URL or BRIGHTRUN_HOME",
        )  # fmt: skip


def _folder_in(storage: str, name: str, file: Path) -> None:
    _, job_id, inside = name.split("/", 2)
    folder = RunFolder(storage, job_id)
    if not folder.exists(inside):
        folder.upload(file, inside)
        return
    there = file.with_name("there")
    folder.download(inside, there)
    if sha256_file(there) != sha256_file(file):
        raise StorageError(
            f"{folder.url}/{inside} is there already and differs from the backup",
            fix="restore into an empty storage: another STORAGE_URL",
        )


def _ledger_in(connection: Connection, place: Place, backup: Backup, file: Path) -> None:
    into = {f"ledger/{table.name}.jsonl.gz": table for table in tables(connection)}
    if set(into) != {name for name in backup.files if name.startswith("ledger/")}:
        raise StorageError(
            f"{place.url} has other tables than revision {backup.revision}", fix=OTHER_BACKUP
        )
    for name, table in into.items():
        place.get(name, backup.files[name], file)
        insert_lines(connection, table, unpacked(file))
        number_on(connection, table)
        if content(lines(connection, table)) != backup.files[name].content:
            raise StorageError(
                f"{table.name} was not restored as it was: nothing was kept", fix=OTHER_BACKUP
            )
