"""Writes whole objects into the run folder, before and without fsspec where it can.

A pod must be able to say why it died even when an import fails: for file:// the standard
library is enough; other storage needs the ground floor's RunFolder.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

if TYPE_CHECKING:
    from brightrun.runfolder import RunFolder


class Outbox:
    """Puts objects under `{storage_url}/jobs/{job_id}/`, each whole or not at all."""

    def __init__(self, storage_url: str, job_id: str) -> None:
        self.storage_url = storage_url.rstrip("/")
        self.job_id = job_id
        self._folder: RunFolder | None = None

    def put(self, relative: str, data: bytes) -> None:
        """OSError when it cannot be written."""
        address = urlparse(self.storage_url)
        if address.scheme != "file":
            self._remote().write_bytes(relative, data)
            return
        place = Path(unquote(address.path)) / "jobs" / self.job_id / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
        with temporary.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(place)

    def put_json(self, relative: str, value: Any) -> None:
        self.put(relative, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())

    def names(self, relative: str) -> list[str]:
        """Names in a folder; an absent one has none."""
        address = urlparse(self.storage_url)
        if address.scheme != "file":
            return self._remote().names(relative)
        place = Path(unquote(address.path)) / "jobs" / self.job_id / relative
        return sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []

    def _remote(self) -> RunFolder:
        if self._folder is None:
            from brightrun.runfolder import RunFolder

            self._folder = RunFolder(self.storage_url, self.job_id)
        return self._folder
