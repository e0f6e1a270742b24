"""The real S3 server: what refuses access is told in words, and pods have keys of their own.

A whole job on S3 and Postgres is slow: a kill, and a storage that is away for 30 seconds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.compat
import fsspec
import pytest
import s3fs
from commands import (
    finish,
    furnish,
    ledger_at,
    shared_server,
    small_file,
    start,
    told_job,
    train_options,
)
from pydantic import SecretStr
from s3_server import BUCKET, POD, S3Server, s3_server
from waiting import until

from brightrun import backup, doctor_services, portions, preflight, restoring, shelter
from brightrun.compute.provider import LaunchRequest
from brightrun.context import JobContext
from brightrun.errors import ConfigurationError, StorageError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.outages import told
from brightrun.runfolder import RunFolder
from brightrun.settings import Settings, load

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "data") as running:
        yield running


@pytest.fixture
def folder(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run folder as the given environment sees it."""

    def opened(**more: str) -> RunFolder:
        for name, value in {**server.environment(), **more}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        return RunFolder(os.environ["STORAGE_URL"], "j1")

    yield opened
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_run_folder_on_s3_reads_what_it_wrote(folder: Any) -> None:
    place = folder()
    place.write_json("plan/a.json", {"x": "ä"})
    assert place.read_json("plan/a.json") == {"x": "ä"}
    place.write_json("plan/a.json", {"x": 2})
    assert place.read_json("plan/a.json") == {"x": 2}
    assert (place.exists("plan/a.json"), place.exists("plan/b.json")) == (True, False)
    assert (place.attempts(), place.checkpoints()) == ([], [])


def test_a_large_file_goes_to_s3_in_portions_and_comes_back(
    folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "PORTION", 5 << 20)  # the least that S3 takes
    large, back = tmp_path / "state.pt", tmp_path / "back.pt"
    large.write_bytes(os.urandom(12 << 20) + b"the end")
    place = folder()
    place.upload(large, "checkpoints/step-00000001/state.pt")
    place.download("checkpoints/step-00000001/state.pt", back)
    assert back.read_bytes() == large.read_bytes()


def test_little_of_a_large_file_is_in_memory_at_once() -> None:
    s3, disk = s3fs.S3FileSystem(anon=True), fsspec.filesystem("file")
    for size in (1, 10**9, 10**12):
        found = portions.portions(s3, size)
        assert found["chunksize"] * portions.MOST >= size
        assert found["chunksize"] * found["max_concurrency"] <= max(100 << 20, size / 1000)
    assert portions.portions(disk, 10**9) == {}


TROUBLE = {
    "a key that nobody has": ({"AWS_ACCESS_KEY_ID": "NOBODY"}, "storage_denied", "InvalidAccess"),
    "a wrong secret": ({"AWS_SECRET_ACCESS_KEY": "x"}, "storage_denied", "SignatureDoesNotMatch"),
    "no bucket": ({"STORAGE_URL": "s3://nowhere/team"}, "storage_gone", "NoSuchBucket"),
    "a bucket that is not the pod's": (
        {"STORAGE_URL": "s3://private", "AWS_ACCESS_KEY_ID": POD[0],
         "AWS_SECRET_ACCESS_KEY": POD[1]}, "storage_denied", "AccessDenied",
    ),
    "nobody listens": (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "storage_away", "Could not connect",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TROUBLE)
def test_what_refuses_is_named_with_its_mend(name: str, folder: Any) -> None:
    environment, fault, code = TROUBLE[name]
    place = folder(**environment)
    with pytest.raises(Exception) as caught:
        place.write_json("a.json", {})
    found = told(caught.value)
    assert found.fault == fault
    assert code in str(found)
    assert found.fix
    assert "fault of the pipeline" not in str(found)


def test_a_clock_that_is_off_is_named(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = botocore.compat.get_current_datetime

    def two_hours_late(*given: Any, **named: Any) -> Any:
        return real(*given, **named) - timedelta(hours=2)

    place = folder()
    monkeypatch.setattr(botocore.auth, "get_current_datetime", two_hours_late)
    with pytest.raises(Exception) as caught:
        place.write_json("a.json", {})
    found = told(caught.value)
    assert "RequestTimeTooSkewed" in str(found)
    assert "clock" in str(found)


def test_a_bucket_that_is_missing_is_made_where_the_keys_may(folder: Any) -> None:
    place = folder(STORAGE_URL="s3://fresh/team").storage_url
    assert not shelter.is_there(place)
    shelter.make(place)
    assert shelter.is_there(place)
    (tried,) = doctor_services.storage(load())
    assert (tried.state, tried.said) == ("ok", f"{place}: written, read, removed")
    folder(STORAGE_URL="s3://fresh/team", AWS_ACCESS_KEY_ID=POD[0], AWS_SECRET_ACCESS_KEY=POD[1])
    with pytest.raises(StorageError, match="cannot be known") as caught:
        shelter.is_there(place)
    assert "ask the storage's owner" in caught.value.fix
    with pytest.raises(StorageError, match="s3://other cannot be made"):
        shelter.make("s3://other")


def test_a_backup_lies_in_a_bucket_and_comes_back_from_it(
    server: S3Server, folder: Any, home: Path, tmp_path: Path
) -> None:
    place = folder(STORAGE_URL=f"s3://{BUCKET}/lost")
    place.write_bytes("checkpoints/step-00000002/state.pt", bytes(range(256)) * 100)
    place.write_json("checkpoints/step-00000002/manifest.json", {"files": {}})
    Ledger.open(load()).create_job("j1", JobRequest(training_file="f.json"))
    url = backup.make(load(), f"s3://{BUCKET}/backups", datetime.now(UTC))
    new = Settings.model_validate(
        {"home": tmp_path / "new", "STORAGE_URL": f"s3://{BUCKET}/new", "DATABASE_URL": None}
    )
    assert restoring.restore(new, url) == restoring.check(url)
    assert Ledger.open(new).job("j1").training_file == "f.json"
    again = RunFolder(new.storage, "j1")
    state = "checkpoints/step-00000002/state.pt"
    assert (again.read_bytes(state), again.checkpoints()) == (place.read_bytes(state), [2])


def test_a_local_pod_without_keys_of_its_own_is_refused_before_it_starts(
    server: S3Server, folder: Any, home: Path
) -> None:
    """A pod gets none of our environment: it would wait for credentials until its lease ends."""
    folder(BRIGHTRUN_POD_STORAGE_ENDPOINT=server.url)
    known = Ledger.open(load())
    known.create_job("j1", JobRequest(training_file="f.json"))
    job = JobContext(known.settings, known, "j1")
    wanted = LaunchRequest(name="br-j1-1-x", environment={})
    with pytest.raises(ConfigurationError, match="BRIGHTRUN_POD_STORAGE_KEY_ID"):
        preflight.require_storage(job, wanted)
    key, secret = map(SecretStr, POD)
    keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    preflight.require_storage(job, wanted.model_copy(update={"secrets": keys}))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_on_s3_and_postgres_is_killed_and_outlives_an_outage(
    server: S3Server, tmp_path: Path, models: Path, migrated: Path
) -> None:
    from postgres_server import postgres_server

    home, file = furnish(tmp_path / "home", models, migrated), small_file(tmp_path)
    with postgres_server(tmp_path / "postgres") as databases, shared_server(home):
        url = databases.fresh()
        where = {**server.environment(), **server.pod_environment(), "DATABASE_URL": url}
        running = start(
            home, "train", str(file), *train_options(epochs=6), "--interrupt-at", "9", "--yes",
            "--json", **where,
        )  # fmt: skip
        job_id = told_job(running)
        book = ledger_at(home, url)
        until(lambda: len(book.attempts(job_id)) == 2, 200, "the second pod")
        until(lambda: book.events(job_id, 2, "metric"), 100, "a step of the second pod")
        server.pause()
        back = threading.Timer(30, server.go_on)
        back.start()
        done = finish(running)
        assert not back.is_alive()  # it could not end while the storage was away
        assert done.code == 0, done.err
        assert done.json["interruptions"] == 1
        assert done.json["run_folder"] == f"s3://{BUCKET}/team/jobs/{job_id}"
        assert [a.outcome.partition(":")[0] for a in book.attempts(job_id)] == ["lost", "done"]
        told_steps = [e.payload["step"] for e in book.events(job_id, 2, "metric")
                      if "loss" in e.payload]  # fmt: skip
        assert told_steps == sorted(set(told_steps))
        assert told_steps[-1] == done.json["steps"]
    assert POD[1] not in done.err + done.out
