"""A real local filesystem under `faulty://` that fails as it is told by a file beside the storage.

Like S3 it writes whole objects (temporary name, rename). The orders lie in `{storage}/FAULT.json`:
{"error": an S3 error code | full | unreachable | hang, "only": part of a path}.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import fsspec
from botocore.exceptions import ClientError, EndpointConnectionError
from fsspec.implementations.local import LocalFileSystem
from s3fs.errors import translate_boto_error

ORDERS = "FAULT.json"


def refused(code: str) -> OSError:
    """What s3fs raises for an error code of the server."""
    answer = {"Error": {"Code": code, "Message": f"the server says {code}"}}
    found = translate_boto_error(ClientError(answer, "PutObject"))  # type: ignore[arg-type]
    assert isinstance(found, OSError)
    return found


def raised(name: str) -> Exception:
    if name == "unreachable":
        return EndpointConnectionError(endpoint_url="https://storage.example")
    if name == "full":
        return OSError(errno.ENOSPC, "No space left on device")
    return refused(name)


class FaultyFileSystem(LocalFileSystem):  # type: ignore[misc]
    protocol = "faulty"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, str):
            path = path.removeprefix("faulty://")
        return super()._strip_protocol(path)

    def _obey(self, path: str) -> None:
        """Raise what is ordered for this path."""
        for folder in Path(path).parents:
            place = folder / ORDERS
            if place.exists():
                orders = json.loads(place.read_text())
                if orders.get("only", "") not in path:
                    return
                if orders["error"] == "hang":
                    time.sleep(600)
                else:
                    raise raised(orders["error"])

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        self._obey(path)
        place = Path(self._strip_protocol(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{uuid.uuid4().hex}")
        temporary.write_bytes(value)
        temporary.replace(place)

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        self._obey(rpath)
        place = Path(self._strip_protocol(rpath))
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{uuid.uuid4().hex}")
        shutil.copyfile(lpath, temporary)
        temporary.replace(place)

    def cat_file(self, path: str, *args: Any, **more: Any) -> Any:
        self._obey(path)
        return super().cat_file(path, *args, **more)

    def get_file(self, rpath: str, lpath: str, **more: Any) -> None:
        self._obey(rpath)
        shutil.copyfile(self._strip_protocol(rpath), lpath)

    def exists(self, path: str, **more: Any) -> bool:
        self._obey(path)
        return bool(super().exists(path, **more))

    def ls(self, path: str, *args: Any, **more: Any) -> Any:
        self._obey(path)
        return super().ls(path, *args, **more)


def break_storage(storage: Path, error: str, only: str = "") -> None:
    """From now on every call on a path with `only` in it fails."""
    temporary = storage / f".{ORDERS}"
    temporary.write_text(json.dumps({"error": error, "only": only}))
    temporary.replace(storage / ORDERS)


def mend_storage(storage: Path) -> None:
    (storage / ORDERS).unlink()


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
