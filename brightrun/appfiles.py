"""Training files of the user's own application: table `training_files` of its Supabase project.

Read only: rows by PostgREST, a file out of the bucket that its row names. Vendors' errors become
StorageError here, without keys or links in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import httpx

from brightrun.errors import DatasetError, StorageError
from brightrun.frozen import Frozen
from brightrun.settings import Settings

TABLE = "training_files"
COLUMNS = (
    "id", "name", "json_file_path", "jsonl_file_path", "storage_bucket", "conversation_count",
    "total_training_pairs", "status",
)  # fmt: skip
MOST = 1000
SECONDS = 20


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
    """The rows by name, up to 1,000. StorageError: the project refuses or does not answer."""
    from postgrest import SyncPostgrestClient
    from pydantic import ValidationError

    root = f"{_root(settings)}/rest/v1"
    try:
        with httpx.Client(base_url=root, timeout=SECONDS) as http:
            client = SyncPostgrestClient(
                root, headers=_headers(settings), http_client=http, retry_enabled=False
            )
            query = client.from_(TABLE).select(*COLUMNS).order("name").limit(MOST)
            return tuple(row_of(row) for row in cast(list[dict[str, Any]], query.execute().data))
    except (ValidationError, AttributeError, KeyError, TypeError):
        raise StorageError(
            f"the table {TABLE} of Supabase holds something else than training files",
            fix=f"it needs the columns {', '.join(COLUMNS)}",
        ) from None
    except Exception as error:  # noqa: BLE001 postgrest's tree and httpx's; their words may hold the key
        raise _told(f"the table {TABLE} of Supabase cannot be read", error) from None


def row_of(row: dict[str, Any]) -> AppFile:
    known = {name: value for name, value in row.items() if value is not None}
    return AppFile.model_validate({**known, "id": str(known["id"])})


def named(settings: Settings, name: str) -> AppFile:
    """By id or name. DatasetError: there is none, or several have that name."""
    same = [one for one in listed(settings) if name in (one.id, one.name)]
    if len(same) == 1:
        return same[0]
    ids = ", ".join(one.id for one in same)
    raise DatasetError(
        f"{len(same) or 'no'} files in Supabase are called {name!r}",
        fix=f"name one by its id: {ids}" if same else "see `brightrun files list`",
    )


def fetch(settings: Settings, file: AppFile) -> Path:
    """A copy below the home, replaced by the next fetch. DatasetError, StorageError."""
    from storage3 import SyncStorageClient

    kind = Path(file.path).suffix
    if kind not in (".json", ".jsonl"):
        raise DatasetError(
            f"{file.name} has no .json or .jsonl file in Supabase", fix="export it again there"
        )
    # Of ids and paths that others wrote, nothing becomes a place on this disk.
    safe = "".join(c for c in file.id if c.isalnum() or c == "-")[:64]
    place = settings.home.resolve() / "fetched" / (safe or "file") / f"training{kind}"
    try:
        client = SyncStorageClient(f"{_root(settings)}/storage/v1/", _headers(settings))
        data = client.from_(file.storage_bucket).download(file.path)
    except Exception as error:  # noqa: BLE001 storage3's tree and httpx's; their words may hold the key
        raise _told(f"{file.storage_bucket}/{file.path} cannot be fetched", error) from None
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    part.write_bytes(data)
    part.replace(place)
    return place


def _root(settings: Settings) -> str:
    return settings.supabase_url.rstrip("/")


def _headers(settings: Settings) -> dict[str, str]:
    key = "" if settings.supabase_key is None else settings.supabase_key.get_secret_value()
    return {"apikey": key, "Authorization": f"Bearer {key}"}


def _told(what: str, error: Exception) -> StorageError:
    code = getattr(error, "code", "") or ""
    return StorageError(
        f"{what}: {type(error).__name__}{f' {code}' if code else ''}",
        fix="check SUPABASE_URL, and that SUPABASE_KEY (sb_secret_...) may read it",
    )
