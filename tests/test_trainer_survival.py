"""Whole pods on `tiny` in bad weather: outages, a hanging storage, full disks, successors."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_storage import break_storage, mend_storage
from soak_kills import ADAPTER, SEEN, WatchedPod, job
from trainer_jobs import payloads, without_golden
from waiting import until

from brightrun.runfolder import FAILED, STOPPED, RunFolder

pytestmark = pytest.mark.heavy


class Weather:
    """A job whose pods see its folder through the faulty filesystem."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.storage = place / "storage"
        self.plain = without_golden(job(self.storage, "fp32", False))
        self.seen = RunFolder(f"faulty://{self.storage}", self.plain.job_id)

    def pod(self, attempt: int = 1, **more: str) -> WatchedPod:
        return WatchedPod(self.seen, self.place, attempt, **more)

    def steps(self, attempt: int = 1) -> list[int]:
        told = payloads(self.plain, "metric", attempt)
        return [m["step"] for m in told if "loss" in m]

    def warnings(self, attempt: int = 1) -> list[str]:
        return [w["code"] for w in payloads(self.plain, "warning", attempt)]


@pytest.fixture
def weather(tmp_path: Path) -> Weather:
    return Weather(tmp_path)


@pytest.fixture
def ended() -> Iterator[list[WatchedPod]]:
    """Pods put in here do not outlive the test."""
    pods: list[WatchedPod] = []
    yield pods
    for pod in pods:
        pod.kill()


def test_a_pod_trains_through_an_outage_and_tells_it_once(
    weather: Weather, ended: list[WatchedPod]
) -> None:
    pod = weather.pod()
    ended.append(pod)
    assert pod.until(lambda: pod.step() >= 2)
    break_storage(weather.storage, "unreachable")
    assert pod.until(lambda: pod.step() >= 12)  # the rest of the training
    mend_storage(weather.storage)
    assert pod.until(lambda: weather.plain.exists(ADAPTER), 0.05)
    until(lambda: "storage_back" in weather.warnings())
    assert weather.warnings() == ["storage_away", "storage_back"]
    until(lambda: weather.steps() == list(range(1, 13)))
    seqs = [event.seq for event in weather.plain.events(1)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert weather.plain.checkpoints()[-1] == 12


def test_expired_credentials_end_the_pod_with_their_own_error(
    weather: Weather, ended: list[WatchedPod]
) -> None:
    pod = weather.pod(BRIGHTRUN_STORAGE_PATIENCE="0.5")
    ended.append(pod)
    assert pod.until(lambda: bool(weather.plain.checkpoints()))
    break_storage(weather.storage, "ExpiredToken", only="/checkpoints")
    kept = weather.plain.checkpoints()
    pod.process.join(60)
    name, content = weather.plain.marker(1) or ("", {})
    assert (name, content["code"], content["fault"]) == (FAILED, "storage", "storage_expired")
    assert "the storage credentials have expired" in content["message"]
    assert set(kept) <= set(weather.plain.checkpoints())


def test_sigterm_ends_a_pod_in_five_seconds_although_the_storage_hangs(
    weather: Weather, ended: list[WatchedPod]
) -> None:
    pod = weather.pod()
    ended.append(pod)
    assert pod.until(lambda: pod.step() >= 2)
    break_storage(weather.storage, "hang")
    time.sleep(1.5)  # events, log and an upload hang by now
    begun = time.monotonic()
    os.kill(pod.process.pid or 0, signal.SIGTERM)
    pod.process.join(20)
    assert time.monotonic() - begun < 5  # the pod's own limit is 4.25
    assert not pod.process.is_alive()


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["validation", "save"])
def test_sigterm_saves_wherever_the_loop_is(
    weather: Weather, ended: list[WatchedPod], phase: Any
) -> None:
    pod = weather.pod()
    ended.append(pod)
    assert pod.until(lambda: SEEN[phase](pod, 4))
    begun = time.monotonic()
    os.kill(pod.process.pid or 0, signal.SIGTERM)
    pod.process.join(20)
    assert time.monotonic() - begun < 5
    assert (weather.plain.marker(1) or ("", {})) == (STOPPED, {"reason": "sigterm"})
    assert weather.plain.checkpoints()[-1] == max(weather.steps())


def test_a_frozen_pod_with_a_successor_changes_nothing_when_it_wakes(
    weather: Weather, ended: list[WatchedPod]
) -> None:
    pod = weather.pod()
    ended.append(pod)
    assert pod.until(lambda: bool(weather.plain.checkpoints()))
    os.kill(pod.process.pid or 0, signal.SIGSTOP)
    lease = {"holder": "x", "expires": time.time() + 600, "seconds": 60, "attempt": 2}
    weather.plain.write_json("control/lease.json", lease)
    complete = weather.plain.checkpoints()
    os.kill(pod.process.pid or 0, signal.SIGCONT)
    pod.process.join(30)
    name, content = weather.plain.marker(1) or ("", {})
    assert (name, content) == (STOPPED, {"reason": "superseded", "by": "attempt 2"})
    # At most the object that was being written when it was frozen.
    assert set(weather.plain.checkpoints()) <= {*complete, max(complete) + 1}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_a_full_disk_of_the_pod_keeps_the_last_checkpoint(
    weather: Weather, ended: list[WatchedPod]
) -> None:
    small = weather.place / "scratch-1"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        pod = weather.pod(BRIGHTRUN_STORAGE_PATIENCE="0")
        ended.append(pod)
        assert pod.until(lambda: bool(weather.plain.checkpoints()))
        kept = weather.plain.checkpoints()
        with contextlib.suppress(OSError), (small / "filling").open("wb", buffering=0) as out:
            while True:
                out.write(bytes(1 << 12))
        pod.process.join(60)
        name, content = weather.plain.marker(1) or ("", {})
        assert (name, content["fault"]) == (FAILED, "disk_full"), pod.said()[-2000:]
        assert set(kept) <= set(weather.plain.checkpoints())
        assert weather.warnings()[0] == "disk_full"
    finally:
        ended[0].kill()
        subprocess.run(["umount", str(small)], check=False)
