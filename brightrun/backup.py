"""A copy of ledger and run folders in another place.

The ledger is copied first, as of one moment: what a job writes meanwhile is newer than its ledger,
as after a crash.
"""

from __future__ import annotations

import gzip
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import fsspec
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from brightrun import ledger_store
from brightrun.backup_place import Backup, Place, Stored, manifests_last
from brightrun.errors import ConfigurationError, StorageError
from brightrun.ledger_dump import as_one_view, content, lines, refuse_hidden_rows, tables
from brightrun.runfolder import JOB_ID_PATTERN, RunFolder
from brightrun.settings import Settings


def make(settings: Settings, to: str, now: datetime, *, checkpoints: bool = True) -> str:
    """Copy ledger and run folders into a new folder below `to`; returns its URL.

    checkpoints: False leaves them out, the largest part; an interrupted job then begins anew.
    ConfigurationError: there is no ledger, or a newer one. StorageError: something is away.
    """
    engine, revision = ledger_store.standing(settings)
    if revision is None:
        raise ConfigurationError("there is no ledger to copy", fix="brightrun setup")
    ledger_store.require_known(revision)
    place = Place(f"{to.rstrip('/')}/{now:%Y-%m-%dT%H-%M-%SZ}")
    if place.fs.exists(place.root):
        raise StorageError(f"{place.url} is there already", fix="wait a second and repeat")
    with tempfile.TemporaryDirectory(prefix="brightrun-backup-") as room:
        files = _ledger_out(engine, place, Path(room))
        found, left_out = _folders_out(settings.storage, place, Path(room), checkpoints)
    place.finish(
        Backup(
            made_at=now, revision=revision, storage=settings.storage,
            files=files | found, left_out=left_out,
        )
    )  # fmt: skip
    return place.url


def _ledger_out(engine: Engine, place: Place, room: Path) -> dict[str, Stored]:
    files: dict[str, Stored] = {}
    with ledger_store.transaction(as_one_view(engine), write=False) as connection, _readable():
        refuse_hidden_rows(connection)
        for table in tables(connection):
            packed = room / "table"
            with gzip.open(packed, "wb") as out:
                found = content(_written(lines(connection, table), out.write))
            name = f"ledger/{table.name}.jsonl.gz"
            files[name] = place.put(packed, name).model_copy(update={"content": found})
    return files


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except ProgrammingError as error:
        raise ConfigurationError(
            f"not all of the ledger can be read: {ledger_store.own_words(error)}",
            cause="the user of DATABASE_URL is not the owner of its tables, and policies hide rows",
            fix="back up with the owner's DATABASE_URL",
        ) from None


def _written(told: Iterable[bytes], write: Callable[[bytes], object]) -> Iterator[bytes]:
    for line in told:
        write(line + b"\n")
        yield line


def _folders_out(
    storage: str, place: Place, room: Path, checkpoints: bool
) -> tuple[dict[str, Stored], tuple[str, ...]]:
    files: dict[str, Stored] = {}
    gone: list[str] = []
    for job_id in job_ids(storage):
        folder = RunFolder(storage, job_id)
        for name in sorted(objects(folder), key=manifests_last):
            if name.startswith("checkpoints/") and not checkpoints:
                continue
            inside = f"jobs/{job_id}/{name}"
            try:
                folder.download(name, room / "object")
            except FileNotFoundError:
                gone.append(inside)
            else:
                files[inside] = place.put(room / "object", inside)
    return files, tuple(gone)


def job_ids(storage: str) -> list[str]:
    """Names of the run folders in a storage; what else lies beside them is not ours."""
    fs, root = fsspec.core.url_to_fs(f"{storage}/jobs")
    fs.invalidate_cache()
    found = fs.ls(root, detail=False) if fs.exists(root) else []
    names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
    return sorted(name for name in names if re.fullmatch(JOB_ID_PATTERN, name))


def objects(folder: RunFolder) -> list[str]:
    """Relative names of all that is in a run folder, but for what is being written."""
    folder.fs.invalidate_cache()
    found = (str(path)[len(folder.root) + 1 :] for path in folder.fs.find(folder.root))
    return [name for name in found if name and not name.rpartition("/")[2].startswith(".")]
