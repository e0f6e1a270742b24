"""Which packages stand behind some libraries on this machine, direct or not."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def versions(names: Iterable[str]) -> dict[str, str]:
    """Package -> version of these and of all that they require, of what is installed."""
    found: dict[str, str] = {}
    todo, seen = [Requirement(name) for name in names], set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if (key := (name, frozenset(wanted.extras))) in seen:
            continue
        seen.add(key)
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another system, or an extra that nobody asked for
        found[name] = package.version
        for line in package.requires or ():
            try:
                other = Requirement(line)
            except InvalidRequirement:
                continue  # another project's slip: its package is listed, this need of it is not
            asked = [{"extra": extra} for extra in ("", *wanted.extras)]
            if other.marker is None or any(map(other.marker.evaluate, asked)):
                todo.append(other)
    return dict(sorted(found.items()))
