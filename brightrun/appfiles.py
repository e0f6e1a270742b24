"""Training files of the user's own application: table `training_files` of its Supabase project.

Read only: rows by PostgREST, a file out of the bucket that its row names. Vendors' errors become
StorageError here, without keys or links in them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote

from brightrun.errors import DatasetError, StorageError
from brightrun.frozen import Frozen
from brightrun.settings import Settings
from brightrun.shelves import supabase_headers

TABLE = "training_files"
COLUMNS = (
    "id", "name", "json_file_path", "jsonl_file_path", "storage_bucket", "conversation_count",
    "total_training_pairs", "status",
)  # fmt: skip
PAGE = 1000  # rows a request, as many as Supabase gives by default; a project may give fewer
# Postgres about a value that a column's type cannot hold: no row has such an id.
NO_SUCH = ("22P02", "22003")
SECONDS = 20
PIECE = 1 << 20  # bytes of a file in memory at once


class AppFile(Frozen):
    """One row as the application wrote it; what it left out is empty."""

    id: str
    name: str
    json_file_path: str = ""
    jsonl_file_path: str = ""
    storage_bucket: str = "training-files"
    conversation_count: int | None = None
    total_training_pairs: int | None = None
    status: str = ""

    @property
    def path(self) -> str:
        """The whole document where there is one: the lines alone lack its metadata."""
        return self.json_file_path or self.jsonl_file_path


def is_configured(settings: Settings) -> bool:
    return bool(settings.supabase_url and settings.supabase_key)


def listed(settings: Settings) -> tuple[AppFile, ...]:
    """All rows by name, page by page. StorageError: the project refuses or does not answer."""
    found: tuple[AppFile, ...] = ()
    while page := _rows(settings, partial(_page, start=len(found))):
        found += page
    return found


def _page(query: Any, start: int) -> Any:
    """A page may be shorter than asked for, so only an empty one is the end."""
    return query.order("name").order("id").range(start, start + PAGE - 1)


def _rows(settings: Settings, chosen: Callable[[Any], Any]) -> tuple[AppFile, ...]:
    import httpx
    from postgrest import APIError, SyncPostgrestClient
    from pydantic import ValidationError

    root = f"{settings.supabase_url.rstrip('/')}/rest/v1"
    try:
        with httpx.Client(base_url=root, timeout=SECONDS) as http:
            client = SyncPostgrestClient(
                root, headers=supabase_headers(_key(settings)), http_client=http,
                retry_enabled=False,
            )  # fmt: skip
            found = chosen(client.from_(TABLE).select(*COLUMNS)).execute().data
    except (APIError, httpx.HTTPError) as error:
        if getattr(error, "code", "") in NO_SUCH:
            return ()
        raise _told(f"the table {TABLE} of Supabase cannot be read", error) from None
    try:
        return tuple(row_of(row) for row in cast(list[dict[str, Any]], found))
    except (ValidationError, AttributeError, KeyError, TypeError):
        raise StorageError(
            f"the table {TABLE} of Supabase holds something else than training files",
            fix=f"it needs the columns {', '.join(COLUMNS)}",
        ) from None


def row_of(row: dict[str, Any]) -> AppFile:
    known = {name: value for name, value in row.items() if value is not None}
    return AppFile.model_validate({**known, "id": str(known["id"])})


def named(settings: Settings, name: str) -> AppFile:
    """By id or name. DatasetError: there is none, or several have that name."""
    same = _rows(settings, lambda query: query.eq("name", name))
    same = same or _rows(settings, lambda query: query.eq("id", name))
    if len(same) == 1:
        return same[0]
    ids = ", ".join(one.id for one in same)
    raise DatasetError(
        f"{len(same) or 'no'} files in Supabase are called {name!r}",
        fix=f"name one by its id: {ids}" if same else "see `brightrun files list`",
    )


def room(settings: Settings) -> Path:
    """Where the copies lie, each in a folder of its own."""
    return settings.home.resolve() / "fetched"


def fetch(settings: Settings, file: AppFile) -> Path:
    """A copy below the home, replaced by the next fetch. DatasetError, StorageError."""
    kind = Path(file.path).suffix
    if kind not in (".json", ".jsonl"):
        raise DatasetError(
            f"{file.name} has no .json or .jsonl file in Supabase", fix="export it again there"
        )
    # Of ids and paths that others wrote, nothing becomes a place on this disk.
    safe = "".join(c for c in file.id if c.isalnum() or c == "-")[:64]
    place = room(settings) / (safe or "file") / f"training{kind}"
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    try:
        _download(settings, file, part)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return place


def _download(settings: Settings, file: AppFile, place: Path) -> None:
    """Supabase's own client holds a whole file in memory, so its address is read in pieces."""
    import httpx

    what = f"{file.storage_bucket}/{file.path} cannot be fetched"
    parts = [file.storage_bucket, *unquote(file.path).lstrip("/").split("/")]
    if {".", ".."} & set(parts) or not file.storage_bucket:
        raise StorageError(f"{what}: its path is none", fix="export it again there")
    url = f"{settings.supabase_url.rstrip('/')}/storage/v1/object"
    url = "/".join((url, *(quote(one, safe="") for one in parts)))
    head = supabase_headers(_key(settings))
    try:
        with (
            httpx.stream("GET", url, headers=head, timeout=SECONDS) as answer,
            place.open("wb") as out,
        ):
            answer.raise_for_status()
            for piece in answer.iter_bytes(PIECE):
                out.write(piece)
    except httpx.HTTPError as error:
        raise _told(what, error) from None


def _key(settings: Settings) -> str:
    return "" if settings.supabase_key is None else settings.supabase_key.get_secret_value()


def _told(what: str, error: Exception) -> StorageError:
    """The kind of an exception and its code; its words may hold the address or the key."""
    answer = getattr(error, "response", None)
    code = getattr(error, "code", "") or getattr(answer, "status_code", "")
    return StorageError(
        f"{what}: {type(error).__name__}{f' {code}' if code else ''}",
        fix="check SUPABASE_URL, and that SUPABASE_KEY (sb_secret_...) may read it",
    )
