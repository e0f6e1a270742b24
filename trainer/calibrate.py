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

from brightrun.physics import RECOMPUTED, Range
from trainer.memory import Fit

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
# What a machine's speed changes by itself over hours, which nine micro-steps cannot show: never
# promise less. A CPU's: identical micro-steps became 7-16 % slower in ten minutes (benchmarks.md).
DRIFT = {"cuda": 0.03, "cpu": 0.20}
# Forward pass alone over forward and backward of a LoRA model: 250 against 120 tokens/s measured.
FORWARD = Range(0.33, 0.48, 0.60)

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


# A forward and backward pass, and the seconds it took.
MicroStep = tuple[Size, float]


@dataclass(frozen=True, slots=True)
class Line:
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

    def forecast(self, sizes: Sequence[Size], device: str) -> Range:
        """Seconds of all these micro-steps together, on that kind of device."""
        if not sizes:
            return Range(0.0, 0.0, 0.0)
        sums = _rows(sizes).sum(axis=0)
        likely = float(sums @ np.array([self.a, self.b, self.c]))
        single = sum((self.spread * self.seconds(size)) ** 2 for size in sizes)
        sd = math.sqrt(float(sums @ self.covariance @ sums) + single)
        off = max(DEVIATIONS * sd, DRIFT[device] * likely)
        return Range(max(0.0, likely - off), likely, likely + off)


def fit(sizes: Sequence[Size], seconds: Sequence[float]) -> Line:
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
    return Line(a, b, c, spread, len(observed), back @ np.linalg.inv(certain) @ back)


def _rows(sizes: Sequence[Size]) -> Vector:
    return np.array([[1.0, size.tokens, size.squares] for size in sizes], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left to do: micro-steps by optimizer step, and the sequences of one validation.

    tokens: of every step, without padding; whole: of all steps, those before included.
    validations: steps with a validation after them.
    recomputed_above: tokens above which a micro-step computes its activations twice; None = never.
    """

    steps: Sequence[Sequence[Size]]
    tokens: Sequence[int]
    whole: int
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
    """Takes in optimizer steps as they end; tells the forecast once, when there are enough.

    forecast(step, how): what is left after `step` when it is computed so from now on: an out of
    memory changes that in mid-training.
    """

    def __init__(
        self,
        forecast: Callable[[int, Fit], Remaining],
        step: int,
        how: Fit,
        tell: Callable[[dict[str, Any]], None],
        device: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.forecast = forecast
        self.step = step
        self.tell = tell
        self.device = device
        self.clock = clock
        self.wanted = wanted(sum(map(len, forecast(step, how).steps)))
        self.measured: list[MicroStep] = []
        self.between: list[float] = []
        self.ended: float | None = None
        self.told = False

    def on_step(self, done: Sequence[MicroStep], how: Fit) -> None:
        """The next optimizer step is done, in these micro-steps."""
        if self.told:
            return
        now = self.clock()
        if self.ended is not None:
            computing = sum(seconds for _, seconds in done)
            self.between.append(max(0.0, now - self.ended - computing))
        self.ended, self.step = now, self.step + 1
        left = self.forecast(self.step, how)
        self.measured += [(left.work(size), seconds) for size, seconds in done]
        if left.steps and len(self.measured) >= WARM_UP + self.wanted:
            self.told = True
            self.tell(self.payload(left))

    def payload(self, left: Remaining) -> dict[str, Any]:
        """The event: coefficients in seconds, and the seconds that training still takes."""
        sizes, seconds = zip(*self.measured[WARM_UP:], strict=True)
        found = fit(sizes, seconds)
        gaps = (median(self.between) if self.between else 0.0) * len(left.steps)
        # The validation of this very step comes after its metric, so it is still to come.
        times = sum(at >= self.step for at in left.validations)
        checks = found.forecast([*left.validated] * times, self.device)
        work = [left.work(size) for step in left.steps for size in step]
        training = found.forecast(work, self.device)
        training += Range(gaps / 2, gaps, gaps * 2) + Range(
            checks.low * FORWARD.low, checks.likely * FORWARD.likely, checks.high * FORWARD.high
        )
        tokens = sum(left.tokens)
        return {
            "what": "calibrated",
            "stage": "training",
            "step": self.step,
            "a": found.a,
            "b": found.b,
            "c": found.c,
            "spread": round(found.spread, 4),
            "steps": found.steps,
            "tokens": tokens,
            "share": round(tokens / left.whole, 6),
            "training_s": training.as_json(3),
        }
