"""Where the time of a step goes, without waiting for the device.

On a GPU kernels run long after they were called: marks are CUDA events in the stream, and are read
after the loss of the step was read, when all of them have passed.
"""

from __future__ import annotations

import time
from typing import Any

import torch

PARTS = ("data", "forward", "backward", "optimizer", "checkpoint")


class Stopwatch:
    """Marks the end of every part of a step; `device` is cpu or cuda."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.marks: list[tuple[str, Any]] = []

    def start(self) -> None:
        """Forget the marks so far and begin."""
        self.marks = [("", self._now())]

    def mark(self, part: str) -> None:
        """`part` ends here; it began at the mark before."""
        self.marks.append((part, self._now()))

    def spans(self) -> list[tuple[str, float]]:
        """(part, seconds) in order. On a GPU call it when the step's loss has been read."""
        if self.marks and self.device == "cuda":
            self.marks[-1][1].synchronize()
        pairs = zip(self.marks, self.marks[1:], strict=False)
        return [(part, self._between(begun, ended)) for (_, begun), (part, ended) in pairs]

    def _now(self) -> Any:
        if self.device != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _between(self, begun: Any, ended: Any) -> float:
        if self.device != "cuda":
            return float(ended - begun)
        return float(begun.elapsed_time(ended)) / 1000


def by_part(spans: list[tuple[str, float]]) -> dict[str, float]:
    """Seconds of every part, 0 where it did not happen. Pure."""
    return {part: round(sum(s for p, s in spans if p == part), 4) for part in PARTS}


def micro_steps(spans: list[tuple[str, float]]) -> list[float]:
    """Seconds of forward and backward of every micro-step, in order. Pure."""
    made: list[float] = []
    for part, seconds in spans:
        if part == "forward":
            made.append(seconds)
        elif part == "backward":
            made[-1] += seconds
    return made
