"""Downloads of base models: resumed, checked, onto a volume; every failure with its own words."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.hub import COMMIT, FakeHub
from trainer_jobs import ROOT, tiny_models

from brightrun import basemodels
from brightrun.errors import StorageError

pytestmark = pytest.mark.heavy


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    served = FakeHub(basemodels.prepared_folder("tiny", tiny_models()))
    yield served
    served.server.shutdown()
    served.server.server_close()


def prepare(hub: FakeHub, name: str, place: Path) -> subprocess.CompletedProcess[str]:
    """`python -m trainer prepare` against the fake, with its downloads on a volume."""
    environ = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "BRIGHTRUN_VOLUME": str(place / "volume"), "HF_HOME": str(place / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "trainer", "prepare", name, "--models", str(place / "models")]
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=240
    )


def test_a_download_that_was_cut_goes_on_and_is_checked(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_after = 11_000_000  # the client counts pieces of 10 MB
    done = prepare(hub, "org/tiny", tmp_path)
    assert done.returncode == 0, done.stderr
    found = basemodels.resolve("org/tiny", tmp_path / "models")
    assert found.sha256 == basemodels.resolve("tiny", tiny_models()).sha256
    assert found.revision == COMMIT
    # Not from the start again: the second request asks for the rest.
    weights = [r for a, r in hub.asked if a.startswith("GET") and "safetensors" in a]
    assert any(r.startswith("bytes=") and not r.startswith("bytes=0") for r in weights), hub.asked
    blobs = list((tmp_path / "volume" / "hub").rglob("blobs/*"))
    assert blobs
    # The same again, from the volume, but damaged.
    largest = max(blobs, key=lambda file: file.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[-1] ^= 1
    largest.unlink()
    largest.write_bytes(data)
    again = prepare(hub, f"org/tiny@{COMMIT}", tmp_path)
    assert again.returncode == 1
    assert f"the hub's has {largest.name[:12]}" in again.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("org/gated", "is gated"),
        ("org/missing", "is not on the hub"),
        ("org/tiny@other", "no such revision"),
    ],
)
def test_every_failure_has_its_own_words(
    hub: FakeHub, tmp_path: Path, name: str, words: str
) -> None:
    done = prepare(hub, name, tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not basemodels.is_prepared(name, tmp_path / "models")


def test_a_full_disk_and_a_silent_network_are_told_apart() -> None:
    from trainer.hub import explain

    full = explain("org/tiny", OSError(28, "No space left on device"))
    assert isinstance(full, StorageError)
    assert "no space is left" in full.message
    assert "ConnectionError" in explain("org/tiny", ConnectionError("refused")).message
