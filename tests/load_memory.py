"""What the processes of a `make ui` take of memory and CPU, by kind, seen every two seconds."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from pathlib import Path

import psutil

EVERY_S = 2.0
# A word of the command line -> what the process is; the first that fits.
KINDS = {
    "tasks.pieces": "piece", "prefect.engine": "flow", "flow_engine": "flow",
    "flows.server": "server", "flows.worker": "worker",
}  # fmt: skip
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


class Watch:
    """Use as a context manager. Megabytes are those of 1,000,000 bytes, resident."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)
        self.peak: dict[tuple[str, int], int] = {}
        self.resident: dict[tuple[str, int], int] = {}
        self.cpu: dict[tuple[str, int], float] = {}
        self.together: dict[str, int] = defaultdict(int)
        self.free = self.least = psutil.virtual_memory().available
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def taken(self) -> int:
        """MB by which the machine's free memory has sunk at most; others may have taken some."""
        return (self.free - self.least) // 10**6

    def peaks(self, kind: str) -> list[int]:
        """Highest MB of each process of a kind."""
        return [mb for (what, _), mb in self.peak.items() if what == kind] or [0]

    def now(self, kind: str) -> list[int]:
        """MB of each living process of a kind."""
        return [mb for (what, _), mb in self.resident.items() if what == kind] or [0]

    def cpu_s(self) -> dict[str, float]:
        found: dict[str, float] = defaultdict(float)
        for (kind, _), seconds in self.cpu.items():
            found[kind] += seconds
        return found

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            seen: dict[tuple[str, int], int] = {}
            for process in self.root.children(recursive=True):
                try:
                    self._look(process, seen)
                except (psutil.Error, OSError):
                    continue
            self.resident = seen
            sums: dict[str, int] = defaultdict(int)
            for (kind, _), mb in self.resident.items():
                sums[kind] += mb
            for kind, mb in sums.items():
                self.together[kind] = max(self.together[kind], mb)
            self.least = min(self.least, psutil.virtual_memory().available)

    def _look(self, process: psutil.Process, seen: dict[tuple[str, int], int]) -> None:
        words = " ".join(process.cmdline())
        kind = next((kind for word, kind in KINDS.items() if word in words), "other")
        status = Path(f"/proc/{process.pid}/status").read_text()
        if (found := PEAK.search(status)) is None:
            return
        key = (kind, process.pid)
        self.peak[key] = int(found[1]) * 1024 // 10**6
        seen[key] = process.memory_info().rss // 10**6
        times = process.cpu_times()
        self.cpu[key] = times.user + times.system
