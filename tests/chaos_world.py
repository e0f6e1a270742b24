"""Virtual time for a whole account: what is due happens while somebody sleeps, in a fixed order.

The world lives in one process with the fake RunPod and its pods. The driver of a job is another
process (it can be killed like one); its clock asks the world for every sleep over a socket, so that
hours pass in milliseconds and a seed always tells the same story.
"""

from __future__ import annotations

import heapq
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

# After any real date: a claim in the ledger must not look older than the process that made it.
START = datetime(2031, 1, 6, 12, 0, tzinfo=UTC)


class World:
    """A clock whose sleep lets everything happen that is due meanwhile."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.after: Callable[[], None] = lambda: None
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._lock = threading.RLock()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        with self._lock:
            end = self.passed + max(0.0, seconds)
            while self._due and self._due[0][0] <= end:
                at, _, happen = heapq.heappop(self._due)
                self.passed = max(self.passed, at)
                happen()
                self.after()
            self.passed = end
            self.after()

    def at(self, moment: float, happen: Callable[[], None]) -> None:
        """At a moment in seconds since the start; past ones happen at the next sleep."""
        heapq.heappush(self._due, (moment, next(self._order), happen))

    def later(self, seconds: float, happen: Callable[[], None]) -> None:
        self.at(self.passed + seconds, happen)

    def live(self, life: Iterator[float], goes_on: Callable[[], bool]) -> None:
        """Run a life step by step: it yields the seconds to its next step."""

        def step() -> None:
            if goes_on() and (pause := next(life, None)) is not None:
                self.later(pause, step)

        self.later(0.0, step)


class FarClock:
    """The world's clock as another process sees it."""

    def __init__(self, line: socket.socket, passed: float) -> None:
        self.passed = passed
        self._line, self._answers = line, line.makefile("r")
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.say({"sleep": seconds})
            self.passed = float(json.loads(self._answers.readline())["passed"])

    def say(self, what: dict[str, Any]) -> None:
        self._line.sendall(json.dumps(what).encode() + b"\n")
