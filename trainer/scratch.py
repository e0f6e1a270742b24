"""A pod's scratch folder, and those that killed pods have left here. Standard library only.

Each pod holds a lock on its folder, which the kernel takes away with its process, however that
ends: a folder that can be locked is a dead pod's. No pid is trusted, which may be another's by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "brightrun-pod-"


def made(job_id: str, place: Path | None = None) -> Path:
    """A new folder, this process's while it lives; place: None = where temporary files go."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{job_id}-", dir=place))
        with contextlib.suppress(FileNotFoundError):
            held = os.open(folder, os.O_RDONLY)
            # Some network file systems lock no folders: what is left there stays.
            with contextlib.suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX)
            # Another pod's `sweep` may have come between.
            if folder.exists():
                return folder
            os.close(held)


def sweep(place: Path | None = None) -> list[str]:
    """Remove the folders of dead pods, and tell their names; never another user's."""
    return [
        folder.name
        for folder in sorted(Path(place or tempfile.gettempdir()).glob(f"{PREFIX}*"))
        if _removed(folder)
    ]


def _removed(folder: Path) -> bool:
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if os.fstat(held).st_uid != os.getuid():
            return False
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(held)
    return not folder.exists()
