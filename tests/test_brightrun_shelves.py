"""Links of a real S3 server: they open, end, and cannot be altered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import s3fs
from s3_server import BUCKET, S3Server, s3_server
from waiting import until

from brightrun.errors import StorageError
from brightrun.shelves import Bucket

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "data") as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield Bucket(f"{BUCKET}/out")
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_link_opens_ends_and_cannot_be_altered(bucket: Bucket, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<h1>report</h1>")
    place = bucket.place("abc123", page.name)
    bucket.put(page, place, datetime.now(UTC) + timedelta(days=30))
    link = bucket.link(place, 600)
    answer = httpx.get(link)
    assert (answer.status_code, answer.text) == (200, "<h1>report</h1>")
    assert answer.headers["content-type"].startswith("text/html")
    assert httpx.get(link.replace("report.html", "other.html")).status_code == 403
    assert httpx.get(link.partition("?")[0]).status_code == 403
    forged = link.replace("X-Amz-Expires=600", "X-Amz-Expires=604800")
    assert forged != link
    assert httpx.get(forged).status_code == 403
    short = bucket.link(place, 1)
    assert until(lambda: httpx.get(short).status_code == 403, 60)
    assert httpx.get(link).status_code == 200


def test_a_revoked_thing_is_gone_for_every_link(bucket: Bucket, tmp_path: Path) -> None:
    page = tmp_path / "report.pdf"
    page.write_bytes(b"%PDF-1.7")
    place = bucket.place("def456", page.name)
    bucket.put(page, place, datetime.now(UTC) + timedelta(days=30))
    link = bucket.link(place, 30 * 24 * 3600)  # capped at a week: the server takes no more
    assert httpx.get(link).status_code == 200
    bucket.remove(place)
    assert httpx.get(link).status_code == 404
    with pytest.raises(StorageError, match="not there any more"):
        bucket.link(place, 60)
