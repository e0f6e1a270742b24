"""What the rest of the training takes, from the pod's own first micro-steps.

A micro-step takes a + b x tokens + c x sum of squared lengths (on one quiet CPU
run it erred by at most 4.3 %, by tokens alone 5.5 %, by the number of steps 16 %; what the bench
finds on a loaded machine stands in docs/benchmarks.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from brightrun.physics import Range

# The first micro-step allocates memory, fills caches and compiles kernels: it is no sample of
# what follows. Nine more are enough for three coefficients and a spread.
WARM_UP = 1
WANTED = 9
LEAST = 3
# Before anything is measured: the shares of the mean micro-step that a, b and c take, each known
# to +-50 % of it. That decides only what the measurements leave open (all lengths equal).
PRIOR = (0.05, 0.85, 0.10)
PRIOR_SD = 0.5
LEAST_SPREAD = 0.01
DEVIATIONS = 2.0  # low and high: about 95 %
DRIFT = 0.03  # what a machine's speed changes by itself over hours: never promise less
# Forward pass alone over forward and backward of a LoRA model: 250 against 120 tokens/s measured.
FORWARD = Range(0.33, 0.48, 0.60)
RECOMPUTED = 1.31  # gradient checkpointing, measured: 27-35 % more time

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Size:
    """Of one micro-step: tokens computed, and the sum of the squared lengths of its sequences."""

    tokens: int
    squares: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Size:
        """Sequences side by side, padded to the longest."""
        longest = max(lengths)
        return cls(longest * len(lengths), longest * longest * len(lengths))


@dataclass(frozen=True, slots=True)
class Fit:
    """a, b, c >= 0 in seconds; spread: of a single micro-step, relative; covariance of a, b, c."""

    a: float
    b: float
    c: float
    spread: float
    steps: int
    covariance: Vector

    def seconds(self, size: Size) -> float:
        """Expected seconds of one micro-step."""
        return self.a + self.b * size.tokens + self.c * size.squares

    def forecast(self, sizes: Sequence[Size]) -> Range:
        """Seconds of all these micro-steps together."""
        if not sizes:
            return Range(0.0, 0.0, 0.0)
        sums = _rows(sizes).sum(axis=0)
        likely = float(sums @ np.array([self.a, self.b, self.c]))
        single = sum((self.spread * self.seconds(size)) ** 2 for size in sizes)
        sd = math.sqrt(float(sums @ self.covariance @ sums) + single)
        off = max(DEVIATIONS * sd, DRIFT * likely)
        return Range(max(0.0, likely - off), likely, likely + off)


def fit(sizes: Sequence[Size], seconds: Sequence[float]) -> Fit:
    """Least squares of relative errors, coefficients >= 0 (Lawson and Hanson 1974, by scipy).

    The prior enters as three more observations, weighed by the spread that was found, so that the
    system is always solvable and good measurements outweigh it. ValueError without any.
    """
    observed = np.array(seconds, dtype=np.float64)
    if not sizes or len(sizes) != len(seconds) or not bool(np.all(observed > 0)):
        raise ValueError("a fit needs micro-steps with their seconds, all above 0")
    rows = _rows(sizes)
    scale = rows.mean(axis=0) / observed.mean()
    shares = rows / scale  # times the shares a, b, c of the mean micro-step: seconds
    found: Vector = np.array(PRIOR)
    spread = 0.05
    # Errors grow with the time itself, which the fit finds: twice is enough to settle.
    for _ in range(3):
        weights = 1 / np.maximum(shares @ found, 1e-9)
        pull = spread / PRIOR_SD * np.eye(3)
        system = np.vstack([shares * weights[:, None], pull])
        wished = np.concatenate([observed * weights, pull @ np.array(PRIOR)])
        found = np.asarray(nnls(system, wished)[0], dtype=np.float64)
        errors = observed / np.maximum(shares @ found, 1e-9) - 1
        freedom = max(1, len(observed) - int(np.count_nonzero(found)))
        spread = max(LEAST_SPREAD, math.sqrt(float(errors @ errors) / freedom))
    weighted = shares / (shares @ found)[:, None]
    certain = weighted.T @ weighted / spread**2 + np.eye(3) / PRIOR_SD**2
    back = np.diag(1 / scale)
    a, b, c = (float(value) for value in back @ found)
    return Fit(a, b, c, spread, len(observed), back @ np.linalg.inv(certain) @ back)


def _rows(sizes: Sequence[Size]) -> Vector:
    return np.array([[1.0, size.tokens, size.squares] for size in sizes], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left to do: micro-steps by optimizer step, and the sequences of one validation.

    tokens: of every step, without padding; whole: of all steps, those before included. step:
    optimizer steps done before. validations: steps with a validation after them.
    recomputed_above: tokens above which a micro-step computes its activations twice; None = never.
    """

    steps: Sequence[Sequence[Size]]
    tokens: Sequence[int]
    whole: int
    step: int = 0
    validations: Sequence[int] = ()
    validated: Sequence[Size] = ()
    recomputed_above: int | None = None

    def work(self, size: Size) -> Size:
        """The size that the time follows: what is computed twice counts more."""
        if self.recomputed_above is None or size.tokens <= self.recomputed_above:
            return size
        return Size(round(size.tokens * RECOMPUTED), round(size.squares * RECOMPUTED))


def wanted(micro_steps: int) -> int:
    """Micro-steps to measure: nine, of a short job a third, never under three."""
    return max(LEAST, min(WANTED, (micro_steps - WARM_UP) // 3))


class Calibration:
    """Takes in micro-steps as they end; tells the forecast once, when there are enough.

    Micro-steps may be told one by one or all at the end of their optimizer step.
    """

    def __init__(
        self,
        remaining: Remaining,
        tell: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.remaining = remaining
        self.wanted = wanted(sum(map(len, remaining.steps)))
        self.tell = tell
        self.clock = clock
        self.measured: list[tuple[Size, float]] = []
        self.between: list[float] = []
        self.ended: float | None = None
        self.steps_done = 0
        self.tokens, self.seconds = 0, 0.0
        self.told = False

    def on_micro_step(self, tokens: int, squares: int, seconds: float) -> None:
        """One forward and backward pass over `tokens` took `seconds`."""
        if self.told or self.steps_done >= len(self.remaining.steps):
            return
        self.measured.append((self.remaining.work(Size(tokens, squares)), seconds))
        self.tokens, self.seconds = self.tokens + tokens, self.seconds + seconds
        if self.tokens >= sum(size.tokens for size in self.remaining.steps[self.steps_done]):
            self._step_ended()

    def _step_ended(self) -> None:
        now = self.clock()
        if self.ended is not None:
            self.between.append(max(0.0, now - self.ended - self.seconds))
        self.ended, self.tokens, self.seconds = now, 0, 0.0
        self.steps_done += 1
        left = self.remaining.steps[self.steps_done :]
        if left and len(self.measured) >= WARM_UP + self.wanted:
            self.told = True
            self.tell(self.payload(left))

    def payload(self, left: Sequence[Sequence[Size]]) -> dict[str, Any]:
        """The event: coefficients in seconds, and the seconds that training still takes."""
        sizes, seconds = zip(*self.measured[WARM_UP:], strict=True)
        found = fit(sizes, seconds)
        micro_steps = [size for step in left for size in step]
        tokens = sum(self.remaining.tokens[self.steps_done :])
        gaps = (median(self.between) if self.between else 0.0) * len(left)
        step = self.remaining.step + self.steps_done
        # The validation of this very step comes after its metric, so it is still to come.
        times = sum(at >= step for at in self.remaining.validations)
        checks = found.forecast([*self.remaining.validated] * times)
        training = found.forecast([self.remaining.work(size) for size in micro_steps])
        training += Range(gaps / 2, gaps, gaps * 2) + Range(
            checks.low * FORWARD.low, checks.likely * FORWARD.likely, checks.high * FORWARD.high
        )
        return {
            "what": "calibrated",
            "stage": "training",
            "step": step,
            "a": found.a,
            "b": found.b,
            "c": found.c,
            "spread": round(found.spread, 4),
            "steps": found.steps,
            "tokens": tokens,
            "share": round(tokens / self.remaining.whole, 6),
            "training_s": training.as_json(3),
        }
