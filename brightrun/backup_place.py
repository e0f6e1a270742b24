"""What a backup looks like where it lies: a folder of this machine, or a prefix of a bucket.

    PLACE/2026-11-23T17-10-00Z/{ledger/TABLE.jsonl.gz, jobs/..., manifest.json}

manifest.json is written last: a backup without it does not exist.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from brightrun import shelter
from brightrun.errors import ConfigurationError, StorageError
from brightrun.frozen import Frozen
from brightrun.ledger_dump import Content
from brightrun.portions import portions
from brightrun.runfolder import MANIFEST, sha256_file

FORMAT = 1
OTHER_BACKUP = "use another backup"


class Stored(Frozen):
    """One file of a backup. content: only of a table."""

    size: int
    sha256: str
    content: Content | None = None


class Backup(Frozen):
    """manifest.json. Files by their path in the backup; left_out: what went while it was copied."""

    format: int = FORMAT
    made_at: datetime
    revision: str
    storage: str
    files: dict[str, Stored]
    left_out: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(stored.content.rows for stored in self.files.values() if stored.content)

    @property
    def jobs(self) -> int:
        return len({name.split("/")[1] for name in self.files if name.startswith("jobs/")})

    @property
    def bytes(self) -> int:
        return sum(stored.size for stored in self.files.values())


class Place:
    """A folder or bucket prefix with one backup in it."""

    def __init__(self, url: str) -> None:
        if not url.strip("/ "):
            raise ConfigurationError(
                "no place is named", fix="name a folder, or s3://BUCKET/PREFIX"
            )
        # Only a file system of this machine knows folders that must be made first.
        local = urlsplit(url).scheme in ("", "file")
        fs, root = fsspec.core.url_to_fs(url.rstrip("/"), **({"auto_mkdir": True} if local else {}))
        self.fs, self.root, self.url = fs, str(root), url.rstrip("/")

    def put(self, file: Path, name: str) -> Stored:
        """Copy a file of this machine in under its name."""
        stored = Stored(size=file.stat().st_size, sha256=sha256_file(file))
        with self._asked():
            more = portions(self.fs, stored.size)
            self.fs.put_file(str(file), f"{self.root}/{name}", **more)
        return stored

    def get(self, name: str, expected: Stored, to: Path) -> None:
        """Fetch one file. StorageError: it is not what was stored."""
        missing = StorageError(f"{self.url}/{name} is missing", fix=OTHER_BACKUP)
        with self._asked(missing):
            self.fs.get_file(f"{self.root}/{name}", str(to), **portions(self.fs))
        if sha256_file(to) != expected.sha256:
            raise StorageError(
                f"{self.url}/{name} is damaged: its sha256 differs", fix=OTHER_BACKUP
            )

    def finish(self, backup: Backup) -> None:
        with self._asked():
            self.fs.pipe_file(f"{self.root}/{MANIFEST}", backup.model_dump_json(indent=1).encode())

    def backup(self) -> Backup:
        """What lies here. StorageError: no complete backup, or one that cannot be read here."""
        missing = StorageError(
            f"{self.url} is no complete backup: it has no {MANIFEST}",
            cause="another folder, or a backup that was cut off",
            fix="name the folder with the time in its name that `brightrun backup` printed",
        )
        with self._asked(missing):
            written = self.fs.cat_file(f"{self.root}/{MANIFEST}")
        try:
            told = json.loads(written)
            if told.get("format") != FORMAT:
                raise StorageError(f"{self.url} has another format", fix="use the newer checkout")
            return Backup.model_validate(told)
        except (AttributeError, ValueError):
            raise StorageError(
                f"{self.url}/{MANIFEST} cannot be read", cause="it is damaged", fix=OTHER_BACKUP
            ) from None

    @contextmanager
    def _asked(self, missing: StorageError | None = None) -> Iterator[None]:
        """The storage's exceptions in words; missing: what an object that is not there means."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 every storage library has its own
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            told = shelter.told(f"{self.url} cannot be used", error)
            raise missing if missing and gone else told from None


def manifests_last(name: str) -> tuple[bool, str]:
    """Order in which objects are copied: whoever is removed meanwhile loses its manifest first."""
    return name.endswith(f"/{MANIFEST}"), name


def unpacked(file: Path) -> Iterator[bytes]:
    with gzip.open(file, "rb") as rows:
        for line in rows:
            yield line.rstrip(b"\n")
