"""Known holes in the pinned versions: pip-audit against PyPI's advisories.

pip-audit ends well where it could ask about nothing (each pin is only "skipped"): no pass here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from audit.found import Found

WHAT = "known holes in pinned versions"
TOOL = "pip-audit==2.10.1"
ONE_MINUTE, TEN_MINUTES = 60, 600


def verdict(told: dict[str, Any]) -> Found:
    """What pip-audit's JSON says, with what it left out. Pure."""
    rows = told.get("dependencies", [])
    skipped = [row["name"] for row in rows if "skip_reason" in row]
    holes = [
        f"{row['name']} {row['version']}: {hole['id']}, mended in "
        f"{', '.join(hole['fix_versions']) or 'no version yet'}"
        for row in rows
        for hole in row.get("vulns", [])
    ]
    left = f"; not checked: {len(skipped)} of {len(rows)} ({skipped[0]}, ...)" if skipped else ""
    if holes:
        return Found(WHAT, "fail", f"{len(holes)}{left}", tuple(holes))
    if not rows or len(skipped) == len(rows):
        return Found(WHAT, "not checked", "the advisories know none of the pins from here")
    if skipped:
        return Found(WHAT, "not checked", f"none in {len(rows) - len(skipped)} pins{left}")
    return Found(WHAT, "ok", f"none in {len(rows)} pins")


def look(root: Path, room: Path) -> Found:
    """One pin first: where the advisories cannot be reached, the others are not asked about.

    room: where pip-audit is installed, apart from what it looks at.
    """
    pins = [line for line in (root / "constraints.txt").read_text().splitlines() if "==" in line]
    try:
        program = _installed(room)
        first = verdict(_asked(program, pins[:1], ONE_MINUTE))
        if first.state == "not checked":
            return first
        return verdict(_asked(program, pins, TEN_MINUTES))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Found(WHAT, "not checked", f"pip-audit did not answer: {_last_line(error)}")


def _installed(room: Path) -> Path:
    program = room / "bin" / "pip-audit"
    if not program.exists():
        python = str(room / "bin" / "python")
        for command in (
            [sys.executable, "-m", "venv", str(room)],
            [python, "-m", "pip", "install", "-q", TOOL],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=TEN_MINUTES)
    return program


def _asked(program: Path, pins: list[str], seconds: int) -> dict[str, Any]:
    """Its exit code is 1 for holes and for its own failures: only what it prints tells which."""
    with tempfile.TemporaryDirectory(prefix="brightrun-audit-") as place:
        file = Path(place) / "pins.txt"
        file.write_text("\n".join(pins) + "\n")
        command = [str(program), "--disable-pip", "--no-deps", "-r", str(file), "-f", "json"]
        done = subprocess.run(
            [*command, "--progress-spinner", "off"],
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
    if not done.stdout.strip():
        raise ValueError(done.stderr)
    told = json.loads(done.stdout)
    if not isinstance(told, dict):
        raise ValueError("not the JSON that its version writes")
    return told


def _last_line(error: Exception) -> str:
    said = str(getattr(error, "stderr", "") or error).strip()
    return said.splitlines()[-1] if said else type(error).__name__
