"""What the morning reads of a night. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from brightrun.counting import count
from brightrun.notify import Message

QUIET = ("skip",)


def report(night: str, files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{night, files, counts, usd}; files as decided or judged, in their order."""
    counts = Counter(str(file["action"]) for file in files)
    usd = round(sum(float(file.get("usd", 0.0)) for file in files), 6)
    return {"night": night, "files": list(files), "counts": dict(counts), "usd": usd}


def title(found: dict[str, Any]) -> str:
    """ "Night of 2026-11-23: 1 trained, 2 skipped, $0.31"."""
    words = {
        "skip": "unchanged",
        "waits": "waiting",
        "no_money": "without money",
        "broken": "broken",
    }
    said = [f"{n} {words.get(what, what)}" for what, n in found["counts"].items()]
    told = ", ".join(said) or "no file is registered"
    return f"Night of {found['night']}: {told}, ${found['usd']:,.2f}"


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One line a file, for a table."""
    return [
        {
            "file": file["name"],
            "what": file["action"],
            "stage": file.get("stage", ""),
            "job": file.get("job_id", ""),
            "USD": round(float(file.get("usd", 0.0)), 4),
            "why": file["why"],
        }
        for file in found["files"]
    ]


def message(found: dict[str, Any]) -> Message:
    """What happened to each file, the ones that need somebody first; unchanged ones are counted."""
    loud = [file for file in found["files"] if file["action"] not in QUIET]
    order = sorted(loud, key=lambda file: file["action"] == "trained")
    lines = [line(file) for file in order]
    quiet = len(found["files"]) - len(loud)
    if quiet:
        lines.append(f"{count(quiet, 'file')} unchanged")
    return Message(title=f"Bright Run: {title(found)}", lines=tuple(lines), kind="night")


def line(file: dict[str, Any]) -> str:
    stage = f" ({file['stage']})" if file.get("stage") else ""
    job = f", job {file['job_id']}" if file.get("job_id") else ""
    todo = ""
    if file["action"] == "awaiting_approval":
        todo = f". Approve: brightrun approve {file['job_id']} --approver NAME"
    elif file["action"] in ("failed", "cancelled"):
        todo = f". Try again: brightrun retry {file['job_id']} --accept-suggestions"
    elif file.get("stage") == "testing":
        todo = f". Put it into production: brightrun adapters promote {file['job_id']} --by NAME"
    return f"{file['name']}: {file['action']}{stage}{job}: {file['why']}{todo}"
