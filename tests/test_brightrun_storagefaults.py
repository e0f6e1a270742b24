"""What kind of storage trouble an exception is, for pod and control plane alike."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError, ReadTimeoutError
from faulty_storage import refused

from brightrun.errors import StorageError
from brightrun.runfolder import RunFolder
from brightrun.storagefaults import (
    AWAY,
    DENIED,
    EXPIRED,
    FULL,
    GONE,
    READ_ONLY,
    Trouble,
    classify,
    is_outage,
    local_fault,
)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), FULL),
        (OSError(errno.EACCES, "Permission denied"), DENIED),
        (OSError(errno.EROFS, "Read-only file system"), READ_ONLY),
        (PermissionError("Forbidden"), DENIED),
        (FileNotFoundError(errno.ENOENT, "no such directory"), GONE),
        (refused("NoSuchBucket"), GONE),
        (refused("ExpiredToken"), EXPIRED),
        (refused("TokenRefreshRequired"), EXPIRED),
        (refused("AccessDenied"), DENIED),
        (refused("InvalidAccessKeyId"), DENIED),
        (refused("SignatureDoesNotMatch"), DENIED),
        (refused("QuotaExceeded"), FULL),
        (NoCredentialsError(), DENIED),
        (refused("SlowDown"), AWAY),
        (refused("InternalError"), AWAY),
        (refused("503"), AWAY),
        (ReadTimeoutError(endpoint_url="https://storage.example"), AWAY),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), AWAY),
        (TimeoutError("timed out"), AWAY),
        (OSError(errno.EIO, "Input/output error"), AWAY),
    ],
)
def test_faults_are_told_apart(error: Exception, name: str) -> None:
    found = classify(error)
    assert found is not None
    assert (found.name, found.lasting) == (name, name != AWAY)
    # RunFolder wraps what the disk says: the first cause decides.
    wrapped = StorageError("cannot write")
    wrapped.__cause__ = error
    assert getattr(classify(wrapped), "name", None) == name


def test_what_is_no_storage_trouble_is_left_alone(tmp_path: Path) -> None:
    assert classify(ValueError("shape")) is None
    assert classify(StorageError("'../x' is no path inside a run folder")) is None
    with pytest.raises(StorageError) as caught:
        RunFolder(tmp_path.as_uri(), "job-1").read_bytes("spec.json")
    assert classify(caught.value) is None  # absent is an answer


def test_every_lasting_kind_has_its_own_words() -> None:
    names = (AWAY, FULL, EXPIRED, DENIED, READ_ONLY, GONE)
    errors = [Trouble(name, "detail").error("writing x failed") for name in names]
    for part in ("message", "cause", "fix"):
        assert len({getattr(error, part) for error in errors}) == len(names)
    assert all(error.message.startswith("writing x failed: ") for error in errors)


def test_the_writers_of_checkpoints_say_it_in_their_own_way() -> None:
    class SafetensorError(Exception):
        pass

    said = SafetensorError("Error while serializing: I/O error: No space left (os error 28)")
    assert getattr(local_fault(said, 10**12), "name", None) == FULL
    torn = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    assert getattr(local_fault(torn, 1000), "name", None) == FULL
    assert getattr(local_fault(torn, 10**12), "name", None) == AWAY
    assert local_fault(RuntimeError("size mismatch"), 0) is None


@pytest.mark.parametrize("error", [refused("SlowDown"), OSError("away"), StorageError("damaged")])
def test_the_control_plane_waits_for_whatever_the_storage_does(error: Exception) -> None:
    assert is_outage(error)
    assert not is_outage(KeyError("a fault of the program"))
