"""What killed pods leave in the folder for temporary files, and what must stay there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from trainer_jobs import JOB, ROOT, environment, log_of

from brightrun.runfolder import RunFolder
from trainer import scratch

POD = """
import sys, time
from pathlib import Path
from trainer import scratch
print(scratch.made("job-1", Path(sys.argv[1])), flush=True)
time.sleep(600)
"""


@contextmanager
def pod(place: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A process that lives with a scratch folder there, and the folder."""
    command = [sys.executable, "-c", POD, str(place)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Path(process.stdout.readline().strip()), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_killed_pods_folder_is_removed_and_a_living_ones_stays(tmp_path: Path) -> None:
    with pod(tmp_path) as (alive, _), pod(tmp_path) as (dead, process):
        for folder in (alive, dead):
            (folder / "checkpoint-4").mkdir()
            (folder / "checkpoint-4" / "adapter.safetensors").write_bytes(b"x" * 100)
        assert scratch.sweep(tmp_path) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert scratch.sweep(tmp_path) == [dead.name]
        assert not dead.exists()
        assert (alive / "checkpoint-4" / "adapter.safetensors").exists()


def test_only_folders_of_our_own_pods_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmp_path / f"{scratch.PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{scratch.PREFIX}file").touch()
    (tmp_path / "brightrun-adapters-abc").mkdir()
    left = tmp_path / f"{scratch.PREFIX}job-1-abc"
    left.mkdir()
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    assert scratch.sweep(tmp_path) == []
    monkeypatch.setattr(os, "getuid", lambda: me)
    assert scratch.sweep(tmp_path) == [left.name]
    assert (elsewhere / "kept").exists()
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("late", [False, True])
def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """late: its maker has opened it already."""
    swept: list[str] = []
    opened = os.open

    def overtaken(path: Path, flags: int) -> int:
        if swept:
            return opened(path, flags)
        swept.append(str(path))
        held = opened(path, flags) if late else None
        path.rmdir()
        return opened(path, flags) if held is None else held

    monkeypatch.setattr(os, "open", overtaken)
    folder = scratch.made("job-1", tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    assert swept not in ([], [str(folder)])


def test_the_next_pod_on_the_machine_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """It dies itself a little later, of a torch that cannot be imported, and leaves nothing."""
    broken = tmp_path / "path" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('none')\n")
    place = tmp_path / "temporary"
    place.mkdir()
    folder = RunFolder((tmp_path / "storage").as_uri(), JOB)
    told = {"TMPDIR": str(place), "PYTHONPATH": str(tmp_path / "path")}
    with pod(place) as (left, process):
        process.kill()
        process.wait()
        env = environment(folder, tmp_path / "path", **told)
        subprocess.run([sys.executable, "-m", "trainer"], cwd=ROOT, env=env, check=False)
    assert f"removed what killed pods had left: {left.name}" in log_of(folder)
    assert list(place.glob(f"{scratch.PREFIX}*")) == []
    shutil.rmtree(place)
