"""Versions of the libraries behind a job's numbers: those of its pod, not those installed here.

The machine that writes report and package may have no torch (deployments/control.Dockerfile).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from brightrun.baselines import MACHINE
from brightrun.doctor_machine import plain, read_pins
from brightrun.runfolder import RunFolder
from brightrun.settings import CHECKOUT

GOLDEN = "measurements/golden.jsonl"
PINS = CHECKOUT / "constraints.txt"
VERSION = re.compile(r"\d[\w.+!-]*")  # what may stand in a file that pip reads
ONLY_PINNED = "as pinned in constraints.txt: the pod told none"


def told(folder: RunFolder) -> dict[str, str]:
    """Library -> version as the pod told it: of the golden answers, else of the measuring."""
    machine = folder.read_json(MACHINE) if folder.exists(MACHINE) else {}
    answers = folder.read_jsonl(GOLDEN)
    beside = answers[0].get("settings", {}) if answers else {}
    found = {**machine.get("versions", {}), **beside.get("versions", {})}
    return {name: said for name, said in found.items() if VERSION.fullmatch(str(said))}


def versions(
    names: Iterable[str], told: Mapping[str, str], remark: str = " ({})"
) -> dict[str, str]:
    """Library -> version; where the pod told none, the pinned one with that remark."""
    pinned = {plain(k): v for k, v in read_pins(PINS.read_text("utf-8")).items()}
    return {
        name: told.get(name) or f"{pinned.get(name, 'unknown')}{remark.format(ONLY_PINNED)}"
        for name in names
    }
