"""A machine with what deployments/control.Dockerfile installs, and nothing of the trainer's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "deployments" / "control.Dockerfile").read_text()


def extras() -> set[str]:
    """Those that the image installs."""
    found = re.findall(r"-e '\.\[([\w,-]+)\]'", DOCKERFILE)
    assert len(found) == 1
    return set(found[0].split(","))


def asked() -> list[str]:
    """What pyproject.toml says now, not what was installed when."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = (project["optional-dependencies"][extra] for extra in extras())
    return [*project["dependencies"], *chain.from_iterable(lists)]


def closure(lines: list[str]) -> dict[str, metadata.Distribution]:
    """These packages and all that they require, of what is installed here."""
    found: dict[str, metadata.Distribution] = {}
    todo, seen = [Requirement(line) for line in lines], set()
    while todo:
        wanted = todo.pop()
        known = (wanted.name, frozenset(wanted.extras))
        if known in seen:
            continue
        seen.add(known)
        try:
            package = metadata.distribution(wanted.name)
        except metadata.PackageNotFoundError:
            continue  # another system's
        found[wanted.name] = package
        for other in map(Requirement, package.requires or ()):
            told = [{"extra": extra} for extra in ("", *wanted.extras)]
            if other.marker is None or any(map(other.marker.evaluate, told)):
                todo.append(other)
    return found


def control_machine(folder: Path) -> Path:
    """The python of a new environment that sees only these packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    here = Path(sysconfig.get_path("purelib"))
    there = folder / here.relative_to(sys.prefix)
    for package in closure(asked()).values():
        for top in {file.parts[0] for file in package.files or () if file.parts[0] != ".."}:
            if (here / top).exists() and not (there / top).exists():
                (there / top).symlink_to(here / top)
    return folder / "bin" / "python"


def run_there(python: Path, code: str, home: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    return subprocess.run(
        [str(python), "-P", "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "BRIGHTRUN_HOME": str(home),
             "HOME": str(home)},
        cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
