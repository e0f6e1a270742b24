"""Clocks of tests: time that moves only when told, and time that runs faster."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class ManualClock:
    """Sleeping moves it at once; `sleeps` are the waits that were asked for."""

    def __init__(self, start: datetime = START) -> None:
        self.start, self.passed = start, 0.0
        self.sleeps: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self.start + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        with self._lock:
            return self.passed

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.sleeps.append(seconds)
            self.passed += max(0.0, seconds)


class FastClock:
    """Real time, `speed` times as fast: a fake provider and its client can share it."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed, self.began, self.start = speed, time.monotonic(), datetime.now(UTC)

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self.began) * self.speed

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds) / self.speed)
