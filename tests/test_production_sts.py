"""The real S3 server's STS: a pod's session reaches its job alone, and one that is over is told.

The role may do everything: what a session may not is our policy's doing (`podcredentials.policy`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import s3fs
from s3_server import ADMIN, BUCKET, ROLE, SIGNING, S3Server, s3_server

from brightrun import podcredentials
from brightrun.errors import ConfigurationError
from brightrun.outages import told
from brightrun.runfolder import RunFolder
from brightrun.settings import Settings

pytestmark = pytest.mark.heavy

STORAGE = f"s3://{BUCKET}/team"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("sts") / "data", sts=True) as running:
        yield running


def session(server: S3Server, job: str, **more: str) -> dict[str, str]:
    asked = {
        "pod_storage_key_id": ADMIN[0], "pod_storage_secret": ADMIN[1],
        "pod_storage_role": ROLE, "pod_storage_sts": server.url, **more,
    }  # fmt: skip
    found = podcredentials.of(Settings.model_validate(asked), STORAGE, job, f"br-{job}-1")
    return {name: secret.get_secret_value() for name, secret in found.items()}


@pytest.fixture
def folder(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A run folder as a pod with these keys sees it."""

    def opened(job: str, keys: dict[str, str]) -> RunFolder:
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        for name, value in {**server.environment(), **keys}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        return RunFolder(STORAGE, job)

    yield opened
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_session_reaches_the_folder_of_its_job_and_no_other(
    server: S3Server, folder: Any
) -> None:
    keys = session(server, "job-1")
    assert keys["AWS_ACCESS_KEY_ID"] != ADMIN[0]
    mine = folder("job-1", keys)
    mine.write_json("control/a.json", {"x": 1})
    assert mine.read_json("control/a.json") == {"x": 1}
    assert mine.exists("control/a.json")
    assert mine.attempts() == []
    folder("job-2", {}).write_json("control/a.json", {"x": 2})
    for job in ("job-2", "job-11"):
        other = folder(job, keys)
        for forbidden in (
            lambda place: place.read_json("control/a.json"),
            lambda place: place.write_json("control/b.json", {}),
            lambda place: place.attempts(),
        ):
            with pytest.raises(Exception) as caught:
                forbidden(other)
            assert told(caught.value).fault == "storage_denied", job


def test_a_session_that_is_over_is_named_with_its_mend(server: S3Server, folder: Any) -> None:
    """SeaweedFS gives none shorter than 15 minutes: its token is signed anew, with its own key."""
    keys = session(server, "job-1")
    claims = jwt.decode(keys["AWS_SESSION_TOKEN"], SIGNING, algorithms=["HS256"])

    def until(moment: int) -> RunFolder:
        token = jwt.encode({**claims, "exp": moment}, SIGNING, algorithm="HS256")
        place = folder("job-1", {**keys, "AWS_SESSION_TOKEN": token})
        assert isinstance(place, RunFolder)
        return place

    until(claims["exp"]).write_json("control/a.json", {})
    with pytest.raises(Exception) as caught:
        until(claims["iat"] - 10).write_json("control/a.json", {})
    found = told(caught.value)
    # Its own word for it; Amazon says ExpiredToken, which has a name of its own.
    assert (found.fault, "InvalidAccessKeyId" in str(found)) == ("storage_denied", True)
    assert found.fix


def test_a_role_that_there_is_not_is_told_before_anything_is_rented(server: S3Server) -> None:
    with pytest.raises(ConfigurationError, match="gives no session of") as caught:
        session(server, "job-1", pod_storage_role="arn:aws:iam::role/nobody")
    assert ADMIN[1] not in str(caught.value)
