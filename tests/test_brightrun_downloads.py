"""Fetches of shared files, counted out of S3's access logs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from report_jobs import evaluated_job
from typer.testing import CliRunner

from brightrun import downloads
from brightrun.errors import StorageError
from brightrun.ledger_shares import ShareRow
from flows.cli import app

KEY = "out/ab12/validation-report.pdf"
PLACE = f"shares/{KEY}"
START = datetime(2026, 11, 20, 9, tzinfo=UTC)


def line(
    status: str = "200", *, operation: str = "REST.GET.OBJECT", key: str = KEY,
    address: str = "192.0.2.3", day: str = "21/Nov/2026",
) -> str:  # fmt: skip
    """A line in Amazon's server access log format."""
    return (
        f'79a5 shares [{day}:10:00:38 +0000] {address} arn:aws:iam::1:user/Ann 3E57 {operation} '
        f'{key} "GET /{key}?X-Amz-Expires=600 HTTP/1.1" {status} - 2662992 3462992 70 10 "-" '
        f'"Mozilla/5.0 (X11; "evil" REST.GET.OBJECT)" - h= SigV4 - QueryString h TLSv1.2 - -'
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "count"),
    [([line(), line()], 2),
     ([line("403"), line("404"), line("304")], 0),
     ([line(operation="REST.HEAD.OBJECT"), line(operation="REST.PUT.OBJECT")], 0),
     ([line("206"), line("206"), line("206", address="192.0.2.9")], 2),
     ([line("206"), line("206", day="22/Nov/2026")], 2),
     ([line("200"), line("206")], 1),
     ([line(key="out/zz/validation-report.pdf"), "", "half a line"], 0)],
)  # fmt: skip
def test_one_reader_on_one_day_is_one_fetch(lines: list[str], count: int) -> None:
    assert downloads.by_place(lines).get(PLACE, 0) == count


def shared(home: Path) -> Any:
    """A share that lies on S3, as the ledger knows it."""
    job = evaluated_job()
    unsaid = ("recipient", "report_id", "purpose", "overridden_by", "override_reason", "outcome",
              "outcome_note")  # fmt: skip
    texts: dict[str, Any] = dict.fromkeys(unsaid, "")
    return job.ledger.add_share(
        ShareRow(
            share_id="ab12", job_id=job.job_id, kind="report", created_by="Ann", created_at=START,
            expires_at=START + timedelta(days=3000), revoked_at=None, storage="s3", place=PLACE,
            sha256="f", outcome_at=None, issued=2, downloads=None, **texts,
        )
    )  # fmt: skip


def listed() -> str:
    done = CliRunner().invoke(app, ("shares", "list", "--json"), catch_exceptions=False)
    return str(json.loads(done.stdout)["shares"][0]["seen"])


def test_a_list_of_shares_counts_what_the_logs_hold(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared(home)
    assert listed() == "issued 2, downloads unknown"
    logs = tmp_path / "logs"
    logs.mkdir()
    monkeypatch.setenv("BRIGHTRUN_SHARE_LOGS", logs.as_uri())
    (logs / "2026-11-21-10-15-02-9F3C").write_text(f"{line()}\n{line(address='192.0.2.7')}\n")
    (logs / "2026-11-01-10-15-02-0001").write_text(line())  # from before it was shared
    assert listed() == "issued 2, downloads 2"
    (logs / "2026-11-21-10-15-02-9F3C").unlink()
    assert listed() == "issued 2, downloads 2"  # logs are cleaned away, the count stays


def test_logs_that_cannot_be_read_do_not_hide_the_list(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared(home)
    monkeypatch.setenv("BRIGHTRUN_SHARE_LOGS", "nowhere://logs")
    assert listed() == "issued 2, downloads unknown"
    with pytest.raises(StorageError, match="BRIGHTRUN_SHARE_LOGS"):
        list(downloads.read("nowhere://logs", START))


def test_a_bucket_of_logs_that_does_not_answer_is_a_storage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing listens there: botocore's own error, which is no OSError."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-nobody")
    with pytest.raises(StorageError, match="BRIGHTRUN_SHARE_LOGS") as told:
        list(downloads.read("s3://logs/shares", START))
    assert "nobody" not in str(told.value)
