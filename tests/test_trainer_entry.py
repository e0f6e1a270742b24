"""The entry point says why it died, whatever died, and gives no secret away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from trainer_jobs import JOB, ROOT, environment, log_of

from brightrun import recovery
from brightrun.runfolder import DONE, FAILED, RunFolder
from trainer import __main__ as commands
from trainer import rebirth
from trainer.entry import Ending
from trainer.logtee import LogTee
from trainer.outbox import Outbox
from trainer.pod import Pod
from trainer.seat import Seat


def start(folder: RunFolder, path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = environment(folder, path, **more, PYTHONPATH=str(path))
    return subprocess.run(
        [sys.executable, "-m", "trainer"], cwd=ROOT, env=env, capture_output=True, text=True
    )


def broken_package(place: Path, name: str, line: str) -> None:
    (place / name).mkdir(parents=True)
    (place / name / "__init__.py").write_text(line + "\n")


def test_a_pod_that_dies_while_importing_torch_says_why(tmp_path: Path) -> None:
    broken_package(tmp_path / "path", "torch", "raise ImportError('libcudart.so is missing')")
    folder = RunFolder((tmp_path / "storage").as_uri(), JOB)
    done = start(folder, tmp_path / "path", HF_TOKEN="hf_secret_value")
    assert done.returncode == 1
    marker = folder.marker(1)
    assert marker is not None
    assert marker[0] == FAILED
    assert "libcudart.so is missing" in marker[1]["message"]
    log = log_of(folder)
    assert "Traceback" in log
    assert "hf_secret_value" not in log + done.stderr + done.stdout


def test_even_without_the_ground_floors_packages_there_is_a_marker(tmp_path: Path) -> None:
    broken_package(tmp_path / "path", "fsspec", "raise ImportError('no fsspec', name='fsspec')")
    folder = RunFolder((tmp_path / "storage").as_uri(), JOB)
    assert start(folder, tmp_path / "path").returncode == 1
    marker = folder.marker(1)
    assert marker is not None
    assert marker[1]["cause"] == "fsspec cannot be imported here"
    assert "no fsspec" in log_of(folder)


def test_a_container_that_its_host_starts_again_trains_nothing_twice(tmp_path: Path) -> None:
    """torch cannot be imported here: a second life that came so far would say that instead."""
    broken_package(tmp_path / "path", "torch", "raise ImportError('it went on')")
    folder = RunFolder((tmp_path / "storage").as_uri(), JOB)
    folder.write_bytes("attempts/1/events-00000001.jsonl", b"{}\n")
    done = start(folder, tmp_path / "path")
    assert done.returncode == 1
    marker = folder.marker(1)
    assert marker is not None
    assert (marker[0], marker[1]["code"], marker[1]["message"]) == (
        FAILED, "spot_interrupted", "restarted by its host",
    )  # fmt: skip
    folder.write_json("attempts/2/_DONE", {"adapter_sha256": "abc"})
    done = start(folder, tmp_path / "path", BRIGHTRUN_ATTEMPT="2")
    assert (done.returncode, folder.names("attempts/2")) == (0, ["_DONE"])
    assert "has ended before" in done.stdout


def test_where_the_host_would_start_it_once_more_it_waits_to_be_ended(tmp_path: Path) -> None:
    folder = RunFolder((tmp_path / "storage").as_uri(), JOB)
    folder.write_json("attempts/1/_DONE", {"adapter_sha256": "abc"})
    env = environment(folder, tmp_path / "path", RUNPOD_POD_ID="p1", PYTHONPATH=str(ROOT))
    pod = subprocess.Popen(
        [sys.executable, "-u", "-m", "trainer"], cwd=ROOT, env=env, stdout=subprocess.PIPE
    )
    assert pod.stdout is not None
    assert b"has ended before" in pod.stdout.readline()
    assert b"stays until it is ended" in pod.stdout.readline()
    time.sleep(0.3)
    assert pod.poll() is None
    pod.terminate()
    assert pod.wait(10) == 0
    pod.stdout.close()


def test_a_pod_that_cannot_even_start_is_not_started_again_and_again(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "RUNPOD_POD_ID": "p1"}
    pod = subprocess.Popen(
        [sys.executable, "-u", "-m", "trainer"], cwd=ROOT, env=env, stdout=subprocess.PIPE
    )
    assert pod.stdout is not None
    assert b"stays until it is ended" in pod.stdout.readline()
    assert pod.poll() is None
    pod.terminate()
    assert pod.wait(10) == 0
    pod.stdout.close()


def test_a_first_life_finds_nothing_or_a_storage_that_is_away() -> None:
    assert rebirth.earlier(["launch.json"]) == ""
    assert rebirth.found(Outbox("nonsense://x", JOB), "attempts/1") == ""


class SilentOutbox(Outbox):
    """A storage that is away when it is first asked."""

    silences = 2

    def names(self, relative: str) -> list[str]:
        if self.silences:
            self.silences -= 1
            raise OSError("the storage is away")
        return super().names(relative)


def test_a_storage_that_is_away_for_moments_makes_no_second_life_a_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "LONGEST_PAUSE_SECONDS", 0.01)
    url = (tmp_path / "storage").as_uri()
    RunFolder(url, JOB).write_json("attempts/1/_DONE", {"adapter_sha256": "abc"})
    assert rebirth.found(SilentOutbox(url, JOB), "attempts/1") == "ended"


def test_a_wrong_environment_is_told_apart(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k == "PATH"}
    done = subprocess.run(
        [sys.executable, "-m", "trainer"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "BRIGHTRUN_ATTEMPT is not set" in done.stderr


def test_the_playgrounds_libraries_are_told_to_stay_offline_before_they_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str | None] = []

    class Loading:
        """Stands where the module is: what is set when it is imported from."""

        @property
        def command(self) -> Callable[..., int]:
            seen.append(os.environ.get("HF_HUB_OFFLINE"))
            return lambda *_: 0

    given = ["trainer", "playground", "--base", "b", "--adapter", "a", "--settings", "{}"]
    monkeypatch.setitem(sys.modules, "trainer.playground", Loading())  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "argv", given)
    monkeypatch.setattr(os, "environ", {})
    assert commands.main() == 0
    assert seen == ["1"]


class MoodyOutbox(Outbox):
    """A storage that refuses the first objects."""

    refusals = 2

    def put(self, relative: str, data: bytes) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("the storage is away")
        super().put(relative, data)


def test_the_marker_of_a_finished_pod_survives_a_storage_that_is_away_for_moments(
    tmp_path: Path,
) -> None:
    url = (tmp_path / "storage").as_uri()
    outbox = MoodyOutbox(url, JOB)
    pod = Pod(JOB, 1, url, tmp_path, 1)
    ending = Ending(outbox, pod, LogTee(outbox, "attempts/1/"), Seat())
    assert ending.write(DONE, {"steps": 3})
    assert outbox.refusals == 0
    assert RunFolder(url, JOB).marker(1) == (DONE, {"steps": 3})
    assert not ending.write(FAILED, {})
