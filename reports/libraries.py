"""Versions of the libraries behind a job's numbers: those of its pod, not those installed here.

The machine that writes report and package may have no torch (deployments/control.Dockerfile).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from brightrun.baselines import MACHINE
from brightrun.delivered import GOLDEN, PACKAGES
from brightrun.doctor_machine import plain, read_pins
from brightrun.runfolder import RunFolder
from brightrun.settings import CHECKOUT

PINS = CHECKOUT / "constraints.txt"
# What may stand in a file that pip reads.
NAME, VERSION = re.compile(r"[A-Za-z0-9][\w.-]*"), re.compile(r"\d[\w.+!-]*")
ONLY_PINNED = "as pinned in constraints.txt: the pod told none"


def told(folder: RunFolder) -> dict[str, str]:
    """Library -> version as the pod told it: of the golden answers, else of the measuring."""
    machine = folder.read_json(MACHINE) if folder.exists(MACHINE) else {}
    answers = folder.read_jsonl(GOLDEN)
    beside = answers[0].get("settings", {}) if answers else {}
    found = {**machine.get("versions", {}), **beside.get("versions", {})}
    return clean({**required(folder), **found})


def required(folder: RunFolder) -> dict[str, str]:
    """Package -> version of all that stood behind the golden answers; {}: an older pod's."""
    return clean(folder.read_json(PACKAGES)) if folder.exists(PACKAGES) else {}


def clean(found: Mapping[str, object]) -> dict[str, str]:
    """What looks like names and versions of packages; `+cpu` says where one was built."""
    return {
        name: str(said)
        for name, said in found.items()
        if NAME.fullmatch(name) and VERSION.fullmatch(str(said))
    }


def versions(
    names: Iterable[str], told: Mapping[str, str], remark: str = " ({})"
) -> dict[str, str]:
    """Library -> version; where the pod told none, the pinned one with that remark."""
    pinned = {plain(k): v for k, v in read_pins(PINS.read_text("utf-8")).items()}
    return {
        name: told.get(name) or f"{pinned.get(name, 'unknown')}{remark.format(ONLY_PINNED)}"
        for name in names
    }
