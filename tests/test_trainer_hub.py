"""Downloads of base models: resumed, checked, onto a volume; every failure with its own words."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.hub import COMMIT, TOKEN, FakeHub
from trainer_jobs import ROOT, tiny_models

from brightrun import basemodels
from brightrun.errors import ConfigurationError, StorageError

pytestmark = pytest.mark.heavy


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    served = FakeHub(basemodels.prepared_folder("tiny", tiny_models()))
    yield served
    served.server.shutdown()
    served.server.server_close()


def environment(hub: FakeHub, place: Path) -> dict[str, str]:
    """Of a process that fetches from the fake onto a volume."""
    return {
        "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "BRIGHTRUN_VOLUME": str(place / "volume"), "HF_HOME": str(place / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
    }  # fmt: skip


def prepare(hub: FakeHub, name: str, place: Path) -> subprocess.CompletedProcess[str]:
    """`python -m trainer prepare` against the fake, with its downloads on a volume."""
    environ = {**os.environ, **environment(hub, place)}
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


def test_a_rented_pod_fetches_what_its_volume_lacks_with_its_own_token(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.fetching import prepared

    wait = lambda process: (process.communicate(timeout=240)[0], process.returncode)  # noqa: E731
    tiny, models = basemodels.resolve("tiny", tiny_models()), tmp_path / "models"
    wanted = tiny.model_copy(update={"name": "org/gated", "revision": COMMIT})
    for name, value in environment(hub, tmp_path).items():
        monkeypatch.setenv(name, value)
    # As the pod is started: offline.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ConfigurationError, match="is gated") as error:
        prepared(wanted, models, wait)
    assert error.value.fault == "model_gated"
    assert "docs/errors.md#model-gated" in str(error.value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = prepared(wanted, models, wait)
    assert basemodels.profile(folder)["revision"] == COMMIT
    assert (folder / "model.safetensors").stat().st_nlink > 1  # on the volume, not copied
    asked = len(hub.asked)
    assert prepared(wanted, models, wait) == folder
    # Without a volume of its own nothing is fetched, and other weights are never taken for these.
    monkeypatch.delenv("BRIGHTRUN_VOLUME")
    with pytest.raises(ConfigurationError, match="is not in the cache"):
        prepared(wanted, tmp_path / "elsewhere", wait)
    with pytest.raises(ConfigurationError, match="was planned with 000000000000"):
        prepared(wanted.model_copy(update={"sha256": "0" * 64}), models, wait)
    assert len(hub.asked) == asked


def test_a_full_disk_and_a_silent_network_are_told_apart() -> None:
    from trainer.hub import explain

    full = explain("org/tiny", OSError(28, "No space left on device"))
    assert isinstance(full, StorageError)
    assert "no space is left" in full.message
    assert "ConnectionError" in explain("org/tiny", ConnectionError("refused")).message
