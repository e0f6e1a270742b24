"""Where run folders and shares lie: whether the folder or bucket is there, and making it."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import fsspec

from brightrun.errors import StorageError
from brightrun.storagefaults import DENIED, classify


def hasty(url: str) -> dict[str, Any]:
    """Options of fsspec for a look that a person waits for."""
    quick = {"retries": {"max_attempts": 1}, "connect_timeout": 10}
    return {"config_kwargs": quick} if url.startswith("s3:") else {}


def root(url: str) -> str:
    """What has to exist before anything is written: the bucket of s3://, else the folder. Pure."""
    parts = urlsplit(url)
    return f"s3://{parts.netloc}" if parts.scheme == "s3" else url


def is_there(url: str) -> bool:
    """StorageError: it cannot be known."""
    fs, path = _opened(url)
    try:
        fs.invalidate_cache()
        if not url.startswith("s3:"):
            return bool(fs.isdir(path))
        fs.call_s3("head_bucket", Bucket=path)
    except FileNotFoundError:
        return False
    except Exception as error:  # noqa: BLE001 every storage library has its own
        raise told(f"whether {root(url)} is there cannot be known", error) from None
    return True


def make(url: str) -> None:
    """Private, as its provider makes buckets; the region is AWS_DEFAULT_REGION's. StorageError."""
    fs, path = _opened(url)
    region = os.environ.get("AWS_DEFAULT_REGION", "")
    # Amazon's first region must not be named.
    where = {"region_name": region} if region and region != "us-east-1" else {}
    try:
        if url.startswith("s3:"):
            fs.mkdir(path, **where)
        else:
            fs.makedirs(path, exist_ok=True)
    except Exception as error:  # noqa: BLE001 every storage library has its own
        raise told(f"{root(url)} cannot be made", error) from None


def _opened(url: str) -> tuple[Any, str]:
    fs, path = fsspec.core.url_to_fs(root(url), **hasty(url))
    return fs, str(path)


def told(what: str, error: Exception) -> StorageError:
    """Any storage library's exception in words."""
    trouble = classify(error)
    if trouble is None:
        return StorageError(f"{what}: {type(error).__name__}", fix="mend the URL and its keys")
    if trouble.name == DENIED:
        fix = "ask the storage's owner to make it and to give these keys access"
        return StorageError(f"{what}: {trouble.detail}", fix=fix)
    return trouble.error(what)
