"""Whether the trainer in this container still works: `python -m trainer.health`, 0 yes, 1 no.

The thread that writes the pod's events touches the file that BRIGHTRUN_ALIVE names (the image
sets it). A storage that refuses is no trouble; a call to it that hangs for over a minute looks
like one, so nothing may end the container for this answer alone. Standard library only: it is
asked every 30 seconds.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "BRIGHTRUN_ALIVE"
STALE_SECONDS = 60.0


def beat(environ: Mapping[str, str] = os.environ) -> None:
    """A sign of life; nothing where no file is named. A full disk must not end the pod."""
    if path := environ.get(VARIABLE):
        with contextlib.suppress(OSError):
            Path(path).touch()


def trouble(environ: Mapping[str, str], now: float) -> str:
    """Why the pod counts as dead; "": it lives. now: seconds since the epoch."""
    path = environ.get(VARIABLE)
    if not path:
        return f"{VARIABLE} is not set"
    try:
        silent = now - Path(path).stat().st_mtime
    except OSError as error:
        return f"no sign of life in {path}: {error.strerror}"
    return f"no sign of life for {silent:.0f} s" if silent > STALE_SECONDS else ""


if __name__ == "__main__":
    found = trouble(os.environ, time.time())
    print(found or "alive")
    sys.exit(bool(found))
