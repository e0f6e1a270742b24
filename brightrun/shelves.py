"""Where shared files lie and how a link to them is made: a folder, S3, or Supabase Storage.

    shelf = shelf_of(settings)
    place = shelf.place(share_id, file.name)
    shelf.put(file, place, expires_at)
    link = shelf.link(place, seconds)

Vendors' errors become StorageError here, without keys or links in them.
"""

from __future__ import annotations

import mimetypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from brightrun.errors import ConfigurationError, StorageError
from brightrun.portions import portions
from brightrun.settings import Settings

PLAIN_TEXT = (".supabase.co", ".supabase.in")
S3_LONGEST = 7 * 24 * 3600  # a signature of version 4 lasts a week at most


class Shelf(Protocol):
    """name: file, s3 or supabase. notice: what a person must know about its links.

    place: where a share's file is going to lie; shows_html: a browser opens HTML there as a page.
    """

    @property
    def name(self) -> str: ...
    @property
    def notice(self) -> str: ...

    @property
    def shows_html(self) -> bool: ...

    def place(self, share_id: str, name: str) -> str: ...
    def put(self, file: Path, place: str, expires_at: datetime) -> None: ...
    def link(self, place: str, seconds: int) -> str: ...
    def remove(self, place: str) -> None: ...


def shelf_of(settings: Settings) -> Shelf:
    """By BRIGHTRUN_SHARE_URL: empty, a file:// folder, s3://bucket/prefix, supabase://bucket."""
    url = settings.share_url.rstrip("/")
    scheme, _, rest = url.partition("://")
    if not url:
        return Folder(settings.home.resolve() / "shares")
    if scheme == "file":
        return Folder(Path(rest))
    if scheme == "s3":
        return Bucket(rest)
    if scheme == "supabase" and settings.supabase_url and settings.supabase_key:
        return Supabase(settings.supabase_url, settings.supabase_key.get_secret_value(), rest)
    raise ConfigurationError(
        f"BRIGHTRUN_SHARE_URL={url} cannot be used",
        cause="another scheme, or SUPABASE_URL and SUPABASE_KEY are not set"
        if scheme == "supabase"
        else "it must begin with file://, s3:// or supabase://",
        fix="leave it empty for a folder of this machine",
    )


def kind_of(name: str) -> str:
    """The content type by the file's name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


class Folder:
    """A folder with an expiry stamp, to copy from by hand: only deleting it ends a share."""

    name = "file"
    shows_html = True
    notice = (
        "This is a folder of this machine with an expiry stamp, no link that runs out by itself: "
        "it is emptied at the next look at the shares after its expiry."
    )

    def __init__(self, root: Path) -> None:
        self.root = root

    def place(self, share_id: str, name: str) -> str:
        return str(self.root / share_id / name)

    def put(self, file: Path, place: str, expires_at: datetime) -> None:
        target = Path(place)
        with _told(f"cannot write to {target.parent}"):
            target.parent.mkdir(parents=True)
            stamp = f"Valid until {expires_at:%Y-%m-%d %H:%M} UTC. Share {target.parent.name}.\n"
            (target.parent / "EXPIRES.txt").write_text(stamp, encoding="utf-8")
            half = target.with_name(f".{target.name}.part")
            shutil.copyfile(file, half)
            half.replace(target)

    def link(self, place: str, seconds: int) -> str:
        if not Path(place).is_file():
            raise StorageError(f"{place} is not there any more", fix="share it again")
        return Path(place).as_uri()

    def remove(self, place: str) -> None:
        folder = Path(place).parent
        if folder.parent != self.root:
            raise StorageError(
                f"{place} does not lie in {self.root}",
                cause="it was shared with another BRIGHTRUN_SHARE_URL",
                fix="set BRIGHTRUN_SHARE_URL to where it was shared",
            )
        with _told(f"cannot remove {folder}"):
            if folder.is_dir():
                shutil.rmtree(folder)


class Bucket:
    """S3 and what speaks it; keys and endpoint come from the usual AWS_* variables."""

    name = "s3"
    shows_html = True
    notice = "A link lasts seven days at most; `brightrun shares link ID` makes the next one."

    def __init__(self, root: str) -> None:
        self.root = root.strip("/")

    def _files(self) -> Any:
        import s3fs

        # Without version 4 some regions still sign in a way that newer servers refuse.
        return s3fs.S3FileSystem(config_kwargs={"signature_version": "s3v4"})

    def place(self, share_id: str, name: str) -> str:
        return f"{self.root}/{share_id}/{name}"

    def put(self, file: Path, place: str, expires_at: datetime) -> None:
        with _told(f"cannot write to s3://{place}"):
            files = self._files()
            more = portions(files, file.stat().st_size)
            files.put_file(str(file), place, ContentType=kind_of(file.name), **more)

    def link(self, place: str, seconds: int) -> str:
        with _told(f"cannot sign a link to s3://{place}"):
            files = self._files()
            files.invalidate_cache()
            if not files.exists(place):
                raise StorageError(f"s3://{place} is not there any more", fix="share it again")
            return str(files.sign(place, expiration=min(seconds, S3_LONGEST)))

    def remove(self, place: str) -> None:
        with _told(f"cannot remove s3://{place}"):
            files = self._files()
            files.invalidate_cache()
            if files.exists(place):
                files.rm_file(place)


def supabase_headers(key: str) -> dict[str, str]:
    return {"apikey": key, "Authorization": f"Bearer {key}"}


def storage_client(url: str, key: str) -> Any:
    """Supabase's own client of the files of a project."""
    from storage3 import SyncStorageClient

    return SyncStorageClient(f"{url.rstrip('/')}/storage/v1/", supabase_headers(key))


class Supabase:
    """Supabase Storage: signed links of any length; HTML is plain text at its usual address."""

    name = "supabase"

    def __init__(self, url: str, key: str, bucket: str) -> None:
        self.url, self.key, self.bucket = url.rstrip("/"), key, bucket

    @property
    def shows_html(self) -> bool:
        """Only at a domain of the project's own."""
        return not (urlsplit(self.url).hostname or "").endswith(PLAIN_TEXT)

    @property
    def notice(self) -> str:
        if self.shows_html:
            return "PDF and PowerPoint are shared unless `--as html` asks for the page."
        return "Supabase shows HTML as plain text: PDF and PowerPoint are shared instead."

    def _files(self, bucket: str) -> Any:
        return self._client().from_(bucket)

    def _client(self) -> Any:
        return storage_client(self.url, self.key)

    def lacks(self) -> str:
        """What `make` would make; "" when it is there."""
        with _told("cannot list the buckets of Supabase"):
            there = [bucket.name for bucket in self._client().list_buckets()]
        return "" if self.bucket in there else f"make the private bucket supabase://{self.bucket}"

    def make(self) -> None:
        """The bucket, private: only signed links open what lies in it."""
        with _told(f"cannot make supabase://{self.bucket}"):
            self._client().create_bucket(self.bucket, options={"public": False})

    def _inside(self, place: str) -> tuple[str, str]:
        """(bucket, path in it); places of earlier versions did not name their bucket."""
        bucket, _, name = place.partition("/")
        return (bucket, name) if "/" in name else (self.bucket, place)

    def place(self, share_id: str, name: str) -> str:
        return f"{self.bucket}/{share_id}/{name}"

    def put(self, file: Path, place: str, expires_at: datetime) -> None:
        bucket, name = self._inside(place)
        with _told(f"cannot write to supabase://{place}"):
            self._files(bucket).upload(name, file, {"content-type": kind_of(file.name)})

    def link(self, place: str, seconds: int) -> str:
        bucket, name = self._inside(place)
        with _told(f"cannot sign a link to supabase://{place}"):
            return str(self._files(bucket).create_signed_url(name, seconds)["signedURL"])

    def remove(self, place: str) -> None:
        bucket, name = self._inside(place)
        with _told(f"cannot remove supabase://{place}"):
            self._files(bucket).remove([name])


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Any refusal of a storage as a StorageError; its words may hold links, so only its kind."""
    try:
        yield
    except (StorageError, TypeError, AttributeError, KeyError):
        raise  # ours: no bucket is to blame
    except Exception as error:  # noqa: BLE001  three vendors, each with a tree of its own
        number = error.errno if isinstance(error, OSError) else None
        said = f", {os.strerror(number)}" if number else ""
        raise StorageError(
            f"{what}: {type(error).__name__}{said}",
            fix="check the bucket, its keys and BRIGHTRUN_SHARE_URL, then repeat",
        ) from None
