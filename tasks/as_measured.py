"""Whether an unpacked package is the model that was measured: by the held-out conversations.

Golden answers come from the delivered script itself. So its model also reads what the evaluation
read, and must find it as likely. Texts of greedy answers cannot be compared instead: one at a time
rounds otherwise than many together, and a word later they differ.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from brightrun.context import JobContext
from brightrun.counting import count
from brightrun.errors import ReportError
from brightrun.settings import CHECKOUT

SCRIPT = CHECKOUT / "trainer" / "likeness.py"
SECONDS = 3600
MOST = 3  # conversations, the shortest: one already tells another adapter
CLOSE = 0.05  # nats a token: other kernels and batches in bf16 stay well below
TELLING = 0.02  # nats a token between baseline and trained: below, it cannot tell the two apart

Row = Mapping[str, Any]
Score = Callable[[Path, Path, Sequence[Row], Path], list[Row]]


def measured(job: JobContext) -> dict[str, dict[str, Row]]:
    """Conversation -> model -> what was measured, of the shortest MOST; empty: never measured."""
    rows: dict[str, dict[str, Row]] = {}
    for row in job.folder.read_jsonl("measurements/likelihood.jsonl"):
        rows.setdefault(row["conversation_id"], {})[row["model"]] = row
    known = [name for name, models in rows.items() if "trained" in models]
    shortest = sorted(known, key=lambda name: (rows[name]["trained"]["tokens"], name))
    return {name: rows[name] for name in shortest[:MOST]}


def compared(
    job: JobContext, folder: Path, base: Path, room: Path, score: Score
) -> dict[str, Any] | None:
    """{conversations, off, same}; None where nothing was measured or its texts are gone."""
    known = measured(job)
    texts = [
        {"id": row["conversation_id"], "messages": row["messages"]}
        for row in job.folder.read_jsonl("data/validation.jsonl")
        if row["conversation_id"] in known
    ]
    return verdict(known, score(folder, base, texts, room)) if texts else None


def scored(folder: Path, base: Path, texts: Sequence[Row], room: Path) -> list[Row]:
    """[{id, nll, tokens}] by the package's own model; ReportError when it fails."""
    asked = room / "held-out.json"
    asked.write_text(json.dumps(texts), encoding="utf-8")
    done = alone(folder, room, str(SCRIPT), "--base", str(base), "--texts", str(asked))
    if done.returncode != 0:
        raise ReportError(
            f"the package's model cannot read held-out answers: {done.stderr.strip()[-400:]}",
            fix="read its message; the golden answers were made",
        )
    found: list[Row] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def alone(folder: Path, home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A script in an unpacked package, without this project, keys or a network of hubs."""
    try:
        return subprocess.run(
            [sys.executable, "-I", *command],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ReportError(
            f"{Path(command[0]).name} was not done with the package after {SECONDS:,} seconds",
            cause="this machine is too slow for the base model",
            fix="check on the kind of machine that measured",
        ) from None


def verdict(known: Mapping[str, Mapping[str, Row]], found: Sequence[Row]) -> dict[str, Any] | None:
    """Pure. off: the greatest distance of a conversation from what was measured, nats a token;
    None: other tokens. Where adapter and baseline differ, it must be nearer to the adapter."""
    if not found:
        return None
    apart, same = [], True
    for row in found:
        trained, baseline = known[row["id"]]["trained"], known[row["id"]].get("baseline")
        if row["tokens"] != trained["tokens"]:
            return {"conversations": len(found), "off": None, "same": False}
        here, there = per_token(row), per_token(trained)
        apart.append(abs(here - there))
        if baseline is not None and abs(per_token(baseline) - there) > TELLING:
            same = same and abs(here - there) < abs(here - per_token(baseline))
    off = max(apart)
    return {"conversations": len(found), "off": round(off, 5), "same": same and off <= CLOSE}


def per_token(row: Row) -> float:
    return float(row["nll"]) / max(1, int(row["tokens"]))


def said(found: Row) -> str:
    """`as measured: 0.003 nats a token apart on 3 held-out conversations`."""
    on = f"on {count(found['conversations'], 'held-out conversation')}"
    if found["off"] is None:
        return f"its tokens are not those that were measured, {on}"
    word = "as measured" if found["same"] else "not as measured"
    return f"{word}: {found['off']:.3f} nats a token apart {on}"
