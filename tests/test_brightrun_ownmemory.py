"""What a process may have under a container's limit, of both versions of control groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from brightrun import doctor_machine, ownmemory
from brightrun.ownmemory import available_bytes, total_bytes
from brightrun.settings import load
from trainer import hardware

MB = 1_000_000
NEVER = 9223372036854771712  # how version 1 says that there is no limit


def machine(root: Path, group: str, files: Mapping[str, object]) -> Path:
    """A machine whose /proc names `group`, with such files under /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group)
    for name, content in files.items():
        place = root / "sys/fs/cgroup" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{content}\n")
    return root


def group(most: object, used: int, cache: int = 0, folder: str = "") -> dict[str, object]:
    """The files of one group of version 2; cache: of it, copies of files."""
    stat = f"anon {used - cache}\ninactive_file {cache - cache // 2}\nactive_file {cache // 2}"
    return {
        f"{folder}memory.max": most, f"{folder}memory.current": used, f"{folder}memory.stat": stat
    }  # fmt: skip


def test_a_container_has_what_its_limit_leaves(tmp_path: Path) -> None:
    here = machine(tmp_path, "0::/\n", group(900 * MB, 300 * MB))
    assert available_bytes(here) == 600 * MB
    assert total_bytes(here) == 900 * MB


def test_copies_of_files_are_given_up_when_memory_is_wanted(tmp_path: Path) -> None:
    here = machine(tmp_path, "0::/\n", group(900 * MB, 850 * MB, cache=500 * MB))
    assert available_bytes(here) == 550 * MB


def test_the_tightest_of_a_group_and_those_above_it_counts(tmp_path: Path) -> None:
    files = {
        **group("max", 100 * MB, folder="slurm/job/step/"),
        **group(400 * MB, 150 * MB, folder="slurm/job/"),
        **group(800 * MB, 700 * MB, folder="slurm/"),
    }
    here = machine(tmp_path, "0::/slurm/job/step\n", files)
    assert available_bytes(here) == 100 * MB
    assert total_bytes(here) == 400 * MB


@pytest.mark.parametrize("path", ["/docker/4711", "/"])
def test_version_1_is_read_under_the_name_inside_or_outside(tmp_path: Path, path: str) -> None:
    files = {
        "memory/memory.limit_in_bytes": 700 * MB, "memory/memory.usage_in_bytes": 300 * MB,
        "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {50 * MB}",
    }  # fmt: skip
    here = machine(tmp_path, f"3:cpuset:/x\n2:cpu,memory:{path}\n0::/\n", files)
    assert available_bytes(here) == 450 * MB


def test_more_than_the_machine_has_is_never_promised(tmp_path: Path) -> None:
    version_1 = {
        "memory/memory.limit_in_bytes": NEVER, "memory/memory.usage_in_bytes": 5,
        "memory/memory.stat": "total_inactive_file 0",
    }  # fmt: skip
    unlimited = (
        machine(tmp_path / "1", "2:memory:/\n", version_1),
        machine(tmp_path / "2", "0::/\n", group("max", 5)),
        tmp_path / "no-linux",
    )
    has = psutil.virtual_memory().total
    for here in unlimited:
        assert 0 < available_bytes(here) <= total_bytes(here) == has


def test_a_group_beyond_its_limit_leaves_nothing(tmp_path: Path) -> None:
    assert available_bytes(machine(tmp_path, "0::/\n", group(900 * MB, 950 * MB))) == 0


@pytest.mark.parametrize("stat", [None, "anon\ninactive_file\nactive_file x y"])
def test_a_limit_without_readable_numbers_of_copies_counts(
    tmp_path: Path, stat: str | None
) -> None:
    files = {"memory.max": 900 * MB, "memory.current": 300 * MB}
    here = machine(tmp_path, "0::/\n", files | ({} if stat is None else {"memory.stat": stat}))
    assert available_bytes(here) == 600 * MB


def test_the_pod_and_doctor_ask_for_the_containers_memory(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine(tmp_path / "root", "0::/\n", group(900 * MB, 300 * MB))
    monkeypatch.setattr(ownmemory, "ROOT", here)
    assert hardware.available_memory_mb() == 600
    assert hardware.place().host_gb == 0.6
    (found,) = doctor_machine.memory(load())
    assert found.state == "warn"
    assert found.said.startswith("0.6 GB free")
