"""The doctor's look of every morning: what fails now and did not at the last look is told.

What was wrong last time stands in `doctor.json` in the home: each machine remembers its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from brightrun.findings import Finding
from brightrun.notify import Message

# Warnings that are told too: what runs is not what was pinned.
VERSIONS = ("packages", "prefect")


def troubles(found: Iterable[Finding]) -> dict[str, Finding]:
    """What people hear of, by what it is known again by: a failure by its name alone, as its words
    change from look to look."""
    told = {}
    for one in found:
        if one.state == "fail":
            told[one.name] = one
        elif one.state == "warn" and one.name in VERSIONS:
            told[f"{one.name}: {one.said}"] = one
    return told


def fresh(found: Iterable[Finding], before: Iterable[str]) -> tuple[Finding, ...]:
    """Those that were not there before. Pure."""
    known = set(before)
    return tuple(one for key, one in troubles(found).items() if key not in known)


def message(found: Iterable[Finding]) -> Message:
    lines = [f"{one.name}: {one.said}. Fix: {one.advice}" for one in found]
    title = f"Bright Run: the doctor found {len(lines)} new failure{'s' if len(lines) > 1 else ''}"
    return Message(title=title, lines=(*lines, "All of it: brightrun doctor"), kind="doctor")


def remembered(home: Path) -> tuple[str, ...]:
    """What was wrong at the last look; a file that cannot be read is none."""
    try:
        return tuple(json.loads((home / "doctor.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return ()


def remember(home: Path, found: Iterable[Finding]) -> None:
    """For the next look; what is mended is forgotten, and is news when it fails again."""
    home.mkdir(parents=True, exist_ok=True)
    beside = home / "doctor.new"
    beside.write_text(json.dumps(sorted(troubles(found)), indent=1))
    beside.replace(home / "doctor.json")
