"""The run folder: the only thing a pod and the control plane share.

Layout under `{storage}/jobs/{job_id}/` (fsspec: file:// or s3://):
    spec.json  data/  plan/  attempts/{n}/  checkpoints/step-{n:08d}/  adapter/
    measurements/  evals/  report/  package/  control/
Rules: an object appears whole or not at all (temp name and rename, or one PUT); a folder with a
manifest exists only once manifest.json, written last, lists its sizes and sha256.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import fsspec

from brightrun.errors import StorageError
from brightrun.frozen import Frozen
from brightrun.portions import portions

MANIFEST = "manifest.json"
JOB_ID_PATTERN = r"[a-z0-9][a-z0-9-]{0,63}"
DONE, FAILED, STOPPED = "_DONE", "_FAILED.json", "_STOPPED.json"
EventType = Literal[
    "stage", "metric", "checkpoint", "progress", "heartbeat", "choice", "warning", "error"
]
StopReason = Literal["cancel", "pause", "switch", "budget"]
STAGES = ("preprocessing", "model_loading", "training", "measuring", "finalization")


class Event(Frozen):
    """One line of `events-{seq}.jsonl`. (attempt, seq) is unique within a job; seq starts at 1."""

    ts: datetime
    attempt: int
    seq: int
    type: EventType
    payload: dict[str, Any]


class RunFolder:
    """Read and write one job's folder. Relative paths use forward slashes."""

    def __init__(self, storage_url: str, job_id: str) -> None:
        if not re.fullmatch(JOB_ID_PATTERN, job_id):
            raise StorageError(f"{job_id!r} is no job id", fix="see `brightrun jobs`")
        self.job_id = job_id
        self.storage_url = storage_url.rstrip("/")
        fs, root = fsspec.core.url_to_fs(f"{self.storage_url}/jobs/{job_id}")
        self.fs = cast(fsspec.AbstractFileSystem, fs)
        self.root = cast(str, root)

    @property
    def url(self) -> str:
        return f"{self.storage_url}/jobs/{self.job_id}"

    @property
    def is_local(self) -> bool:
        return self.storage_url.startswith("file:")

    def path(self, relative: str) -> str:
        """Full path of an object; StorageError when it would lie outside of the run folder."""
        if relative.startswith("/") or ".." in relative.split("/"):
            raise StorageError(f"{relative!r} is no path inside a run folder")
        return f"{self.root}/{relative}"

    def local_path(self, relative: str = "") -> Path:
        """The folder's place on this machine; StorageError when it is not local."""
        if not self.is_local:
            raise StorageError(f"{self.url} is not on this machine")
        return Path(self.path(relative)) if relative else Path(self.root)

    # --- whole objects -------------------------------------------------------------------
    def write_bytes(self, relative: str, data: bytes) -> None:
        """Appears whole or not at all; an existing object is replaced."""
        target = self.path(relative)
        if not self.is_local:
            self.fs.pipe_file(target, data)
            return
        place = Path(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(place)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._unwritable(relative, error) from error

    def _unwritable(self, relative: str, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write {self.url}/{relative}: {error.strerror or error}",
            fix="free disk space or correct the folder's permissions, then resume the job",
        )

    def write_json(self, relative: str, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=False, default=str)
        self.write_bytes(relative, (text + "\n").encode())

    def write_jsonl(self, relative: str, rows: list[dict[str, Any]]) -> str:
        """Write rows, one JSON object a line; returns the sha256 (hex) of the bytes."""
        data = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()
        self.write_bytes(relative, data)
        return hashlib.sha256(data).hexdigest()

    def read_bytes(self, relative: str) -> bytes:
        try:
            return cast(bytes, self.fs.cat_file(self.path(relative)))
        except FileNotFoundError:
            raise StorageError(
                f"{self.url}/{relative} does not exist",
                fix="resume the job: a finished stage that lost its files runs again",
            ) from None

    def read_json(self, relative: str) -> Any:
        return json.loads(self.read_bytes(relative))

    def read_jsonl(self, relative: str) -> list[dict[str, Any]]:
        """Rows of a jsonl object; absent = empty list; a torn last line is dropped."""
        if not self.exists(relative):
            return []
        lines = self.read_bytes(relative).split(b"\n")
        return [json.loads(line) for line in lines[:-1] if line.strip()]

    def exists(self, relative: str) -> bool:
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.path(relative)))

    def names(self, relative: str) -> list[str]:
        """Sorted names of the entries of a folder; an absent folder has none."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.path(relative), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in found)
        return sorted(name for name in names if not name.startswith("."))

    def upload(self, local: Path, relative: str) -> None:
        """Copy one local file; appears whole or not at all."""
        if not self.is_local:
            more = portions(self.fs, local.stat().st_size)
            self.fs.put_file(str(local), self.path(relative), **more)
            return
        place = Path(self.path(relative))
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
        try:
            with local.open("rb") as source, temporary.open("wb") as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(place)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._unwritable(relative, error) from error

    def download(self, relative: str, local: Path) -> None:
        local.parent.mkdir(parents=True, exist_ok=True)
        self.fs.get_file(self.path(relative), str(local), **portions(self.fs))

    def remove(self, relative: str) -> None:
        """Remove a file or folder, its manifest first: a half-removed folder does not exist."""
        self.fs.invalidate_cache()
        manifest = self.path(f"{relative}/{MANIFEST}")
        if self.fs.exists(manifest):
            self.fs.rm_file(manifest)
        if self.fs.exists(self.path(relative)):
            self.fs.rm(self.path(relative), recursive=True)

    # --- folders with a manifest -------------------------------------------------------------
    def upload_folder(self, local: Path, relative: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Upload the files of `local`, then {files: {name: {size, sha256}}, **facts}."""
        files = {}
        for file in sorted(p for p in local.rglob("*") if p.is_file()):
            name = file.relative_to(local).as_posix()
            files[name] = {"size": file.stat().st_size, "sha256": sha256_file(file)}
            self.upload(file, f"{relative}/{name}")
        manifest = {"files": files, **facts}
        self.write_json(f"{relative}/{MANIFEST}", manifest)
        return manifest

    def manifest(self, relative: str) -> dict[str, Any] | None:
        """The manifest of a folder, or None: then the folder does not exist."""
        name = f"{relative}/{MANIFEST}"
        return self.read_json(name) if self.exists(name) else None

    def download_folder(self, relative: str, local: Path) -> dict[str, Any]:
        """Fetch a folder and check every size and sha256; StorageError names what is damaged."""
        manifest = self.manifest(relative)
        if manifest is None:
            raise StorageError(f"{self.url}/{relative} has no manifest: it is not complete")
        for name, expected in manifest["files"].items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise StorageError(f"{relative}: unsafe file name {name!r} in its manifest")
            target = local / name
            try:
                self.download(f"{relative}/{name}", target)
            except FileNotFoundError:
                raise StorageError(f"{relative}/{name} is missing") from None
            if sha256_file(target) != expected["sha256"]:
                raise StorageError(f"{relative}/{name} is damaged: its sha256 differs")
        return manifest

    def checkpoints(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        steps = [int(n[5:]) for n in self.names("checkpoints") if re.fullmatch(r"step-\d{8}", n)]
        return [s for s in sorted(steps) if self.exists(f"{checkpoint(s)}/{MANIFEST}")]

    # --- attempts -----------------------------------------------------------------------------
    def attempts(self) -> list[int]:
        return sorted(int(n) for n in self.names("attempts") if n.isdigit())

    def marker(self, attempt: int) -> tuple[str, dict[str, Any]] | None:
        """How an attempt ended: (`_DONE` | `_FAILED.json` | `_STOPPED.json`, content), or None."""
        for name in (DONE, FAILED, STOPPED):
            if self.exists(f"attempts/{attempt}/{name}"):
                return name, self.read_json(f"attempts/{attempt}/{name}")
        return None

    def event_segments(self, attempt: int) -> list[str]:
        return [n for n in self.names(f"attempts/{attempt}") if n.startswith("events-")]

    def events(self, attempt: int, after_seq: int = 0) -> Iterator[Event]:
        """Events of an attempt with seq > after_seq, in order."""
        segments = self.event_segments(attempt)
        firsts = [int(s[7:-6]) for s in segments]
        for index, segment in enumerate(segments):
            if index + 1 < len(firsts) and firsts[index + 1] <= after_seq + 1:
                continue
            for row in self.read_jsonl(f"attempts/{attempt}/{segment}"):
                if row["seq"] > after_seq:
                    yield Event.model_validate(row)

    # --- control --------------------------------------------------------------------------------
    def renew_lease(self, holder: str, seconds: int, now: datetime, *, attempt: int = 0) -> None:
        """Dead-man switch: the pod stops itself when `expires` (epoch seconds) has passed.

        attempt: whose pod is meant; 0 = any.
        """
        lease = {"holder": holder, "expires": now.timestamp() + seconds, "seconds": seconds}
        self.write_json("control/lease.json", {**lease, "attempt": attempt})

    def request_stop(self, reason: StopReason, by: str, at: datetime | None = None) -> None:
        """Ask the pod to checkpoint and exit."""
        asked = {"reason": reason, "by": by, "at": (at or datetime.now(UTC)).isoformat()}
        self.write_json("control/stop.json", asked)

    def stop_request(self) -> dict[str, Any] | None:
        return self.read_json("control/stop.json") if self.exists("control/stop.json") else None


def checkpoint(step: int) -> str:
    """Folder of the checkpoint after optimizer step `step`."""
    return f"checkpoints/step-{step:08d}"


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file, read in pieces."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


class EventWriter:
    """The pod's side of the events: appends in memory, `flush()` writes one whole segment.

    Segment names hold the first seq in it (`events-{seq:08d}.jsonl`), so replay needs no index.
    """

    def __init__(self, folder: RunFolder, attempt: int) -> None:
        self.folder = folder
        self.attempt = attempt
        self.seq = 0
        self.pending: list[dict[str, Any]] = []

    def add(self, type_: EventType, payload: dict[str, Any]) -> None:
        self.seq += 1
        ts = datetime.now(UTC).isoformat()
        row = {"ts": ts, "attempt": self.attempt, "seq": self.seq}
        self.pending.append({**row, "type": type_, "payload": payload})

    def flush(self) -> None:
        """Write what is pending; on a storage error it stays pending."""
        rows, first = list(self.pending), self.seq - len(self.pending) + 1
        if not rows:
            return
        self.folder.write_jsonl(f"attempts/{self.attempt}/events-{first:08d}.jsonl", rows)
        del self.pending[: len(rows)]
