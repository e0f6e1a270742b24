"""A piece of a job in a process of its own, so that its memory goes with it.

A worker drives many jobs for hours. What each needs for some seconds (Great Expectations, scipy,
matplotlib, a tokenizer: 200 MB) would stay in its process until the end. Of all jobs of a machine
as many pieces run at once as it has cores: more would take memory and be no sooner done.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from brightrun.errors import BrightRunError, from_dict
from brightrun.settings import CHECKOUT, load
from tasks import story

LAST_WORDS = 2000  # characters
LOOK_SECONDS = 0.2


class Apart(Exception):
    """The traceback of the other process."""


def apart(piece: str, job_id: str) -> Any:
    """The answer of `tasks.pieces`; what it told is told here, its error is raised here."""
    path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    with a_place(load().home.resolve() / "pieces", max(2, os.cpu_count() or 1)):
        done = subprocess.run(
            # -P: a folder of the caller's with the name of ours is not taken for it.
            [sys.executable, "-P", "-m", "tasks.pieces", piece, job_id],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise died(piece, done.returncode) from Apart(done.stderr[-LAST_WORDS:])
    for text, warning in found["told"]:
        story.remark(text, warning)
    if "error" in found:
        raise from_dict(found["error"]) from Apart(done.stderr[-LAST_WORDS:])
    return found["answer"]


@contextmanager
def a_place(folder: Path, places: int) -> Iterator[None]:
    """Hold one of so many places, of all processes that use this folder; wait until one is free."""
    folder.mkdir(parents=True, exist_ok=True)
    locks = [FileLock(folder / f"{number}.lock") for number in range(places)]
    while (held := next(filter(taken, locks), None)) is None:
        time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        held.release()


def taken(lock: BaseFileLock) -> bool:
    """Whether it is ours now; the system gives it free when we die."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def died(piece: str, code: int) -> BrightRunError:
    """It ended without a word: killed, or it could not even start."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return BrightRunError(
        f"the process that should {piece} ended without an answer ({how})",
        cause="this machine's memory is full" if code == -signal.SIGKILL else "",
        fix="make room, then go on with the job: that piece is done again",
    )
