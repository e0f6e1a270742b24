"""Memory that a process here can have: the machine's, or what its container leaves of it.

    available_bytes(); total_bytes()

Under a limit of Docker, Kubernetes or Slurm the machine's own numbers are a promise that nobody
keeps: the kernel kills who goes beyond the limit of its control group, or of one above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path("/")
CGROUPS = "sys/fs/cgroup"
# Limit, use and prefix of what stands in memory.stat, in version 2 and in version 1 (whose sums
# over the groups below have a name of their own).
FILES = (
    ("memory.max", "memory.current", ""),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)
# Copies of files, which the kernel gives up as soon as memory is wanted.
CACHE = ("inactive_file", "active_file")


@dataclass(frozen=True, slots=True)
class Limit:
    """Bytes that a control group may have, and those that it holds and cannot give up."""

    most: int
    held: int


def available_bytes(root: Path | None = None) -> int:
    """What can still be had."""
    left = (limit.most - limit.held for limit in limits(root))
    return max(0, min((psutil.virtual_memory().available, *left)))


def total_bytes(root: Path | None = None) -> int:
    """What a process could have if it were alone here."""
    return min((psutil.virtual_memory().total, *(limit.most for limit in limits(root))))


def limits(root: Path | None = None) -> list[Limit]:
    """Of this process's control groups and all above them; []: none, or no Linux."""
    return [limit for folder in _folders(root or ROOT) if (limit := _limit(folder)) is not None]


def _folders(root: Path) -> Iterator[Path]:
    """Where they may stand. A container sees its own group as the topmost one, whatever the path
    is called outside: folders that are not there are left out by `_limit`."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        top = root / CGROUPS
        if controllers:
            if "memory" not in controllers.split(","):
                continue
            top = top / "memory"
        own = top / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _limit(folder: Path) -> Limit | None:
    """None: no such group, or one without a limit."""
    for most, used, prefix in FILES:
        try:
            limit, use = (folder / most).read_text().strip(), int((folder / used).read_text())
        except (OSError, ValueError):
            continue
        if not limit.isdigit():  # "max"
            return None
        return Limit(int(limit), max(0, use - _cache(folder, prefix)))
    return None


def _cache(folder: Path, prefix: str) -> int:
    """Bytes of the group's copies of files; 0 where the kernel does not tell them."""
    wanted = {prefix + name for name in CACHE}
    try:
        rows = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(row[1]) for row in rows if len(row) == 2 and row[0] in wanted)
