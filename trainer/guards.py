"""When training must not go on: NaN, divergence, a resume that does not continue, a stall. Pure.

All rules look at the losses of steps (nats per token, token-weighted over the step).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from brightrun.errors import TrainerError

# Divergence.
WINDOW = 20
ENOUGH = 5
PATIENCE = 5
DEVIATIONS = 6.0
LEAST_RISE = 0.5
# Scales the median absolute deviation to a standard deviation of normal values.
MAD_SCALE = 1.4826
# Continuity at resume.
BAND_STEPS = 10
FIRST_STEPS = 3
SLACK = 0.05
JUMP_CAUSE = (
    "another base model or precision than the adapter was trained on, a damaged adapter, or "
    "changed data"
)
JUMP_FIX = (
    "compare base model, libraries and data of the attempts; the checkpoint that was resumed and "
    "those before it are untouched"
)
# The probe, in nats: how far it may be off where nothing differs, with other hardware or libraries,
# and in another number format.
EXACT, OTHERWISE, OTHER_FORMAT = 1e-4, 0.02, 0.06
# Student's t, one-sided 0.9995, by the number of steps in the band.
T_9995 = {
    2: 636.6, 3: 31.60, 4: 12.92, 5: 8.610, 6: 6.869, 7: 5.959, 8: 5.408, 9: 5.041, 10: 4.781,
}  # fmt: skip
# Stall.
STALL_FACTOR = 10
STALL_LEAST_S = 300.0
STALL_FIRST_S = 1800.0


@dataclass(frozen=True, slots=True)
class Band:
    """Mean and standard deviation of the last step losses before a checkpoint."""

    mean: float
    std: float
    steps: int

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the checkpoint's manifest."""
        return {"mean": self.mean, "std": self.std, "steps": self.steps}


def band(losses: Sequence[float]) -> Band | None:
    """Of the last 10 losses; None without any."""
    last = list(losses)[-BAND_STEPS:]
    if not last:
        return None
    std = statistics.stdev(last) if len(last) > 1 else 0.0
    return Band(statistics.fmean(last), std, len(last))


def read_band(record: Any) -> Band | None:
    """`loss_band` of a manifest; None when it has none."""
    if not isinstance(record, dict):
        return None
    return Band(float(record["mean"]), float(record["std"]), int(record["steps"]))


def upper_limit(before: Band, count: int) -> float:
    """What the mean of `count` losses after a resume may be at most; infinite for one-step bands.

    Upper prediction limit for the mean of k future values, mean + t s sqrt(1/k + 1/n) (Hahn and
    Meeker, Statistical Intervals, 1991, section 4.8) at 99.95 %: one false alarm in 2,000 resumes,
    fewer while the loss is falling. Never closer than 5 % of the mean: a smaller jump is no fault.
    Only upwards: a lower loss is what training is for.
    """
    if before.steps < min(T_9995):
        return math.inf
    width = T_9995[before.steps] * before.std * math.sqrt(1 / count + 1 / before.steps)
    return before.mean + max(width, SLACK * abs(before.mean))


def check_continuity(before: Band, losses: Sequence[float], resumed_at: int) -> None:
    """TrainerError when the first losses after a resume leave the band of its checkpoint."""
    mean, limit = statistics.fmean(losses), upper_limit(before, len(losses))
    if mean > limit:
        raise TrainerError(
            f"resumed at step {resumed_at}, the first {len(losses)} losses average {mean:.4f}: "
            f"before the checkpoint they were {before.mean:.4f} +- {before.std:.4f} over "
            f"{before.steps} steps, at most {limit:.4f} was expected",
            cause=JUMP_CAUSE,
            fix=JUMP_FIX,
            fault="loss_jump",
        )


def check_probe(before: float, now: float, most: float, resumed_at: int) -> None:
    """TrainerError when the probe's loss is not what it was when the checkpoint was saved.

    most: EXACT, OTHERWISE or OTHER_FORMAT. Measured with SmolLM2-135M in NF4: another attention
    kernel changes it by 6e-7 in fp32 and by 0.003 in bf16, bf16 instead of fp32 by 0.016 to 0.020;
    an adapter that is lost changes a loss by about 0.2.
    """
    if not abs(now - before) <= most:
        raise TrainerError(
            f"resumed at step {resumed_at}, the same short text has a loss of {now:.5f}: when the "
            f"checkpoint was saved it was {before:.5f}, at most {most} off was expected",
            cause=JUMP_CAUSE,
            fix=JUMP_FIX,
            fault="loss_jump",
        )


def check_finite(
    value: float, step: int, sample_ids: Sequence[str], learning_rate: float, what: str = "loss"
) -> None:
    """TrainerError for a loss, or `what` else tells of the weights, that is NaN or infinite."""
    if not math.isfinite(value):
        rows = f"; rows of this step: {', '.join(sample_ids)}" if sample_ids else ""
        raise TrainerError(
            f"the {what} of step {step} is {value}",
            cause=f"the learning rate is too high for this model, or a row is broken{rows}",
            fix=f"halve the learning rate: --set learning_rate={learning_rate / 2:g}",
            adjustment={"learning_rate": learning_rate / 2},
            fault="nan_loss",
        )


def ceiling(losses: Sequence[float]) -> float:
    """Highest loss that is still usual after `losses`; infinite before there are 5 of them.

    median + max(6 robust standard deviations, 0.5 nats). Median and median absolute deviation,
    because one spike must not widen the band that judges the next (Iglewicz and Hoaglin, How to
    detect and handle outliers, 1993; they call 3.5 deviations an outlier). 0.5 nats is a
    perplexity 1.65 times as high: no difference between batches of one file is that large for
    several steps in a row.
    """
    last = list(losses)[-WINDOW:]
    if len(last) < ENOUGH:
        return math.inf
    middle = statistics.median(last)
    spread = MAD_SCALE * statistics.median(abs(value - middle) for value in last)
    return middle + max(DEVIATIONS * spread, LEAST_RISE)


class Divergence:
    """Follows the losses of a run; a spike may pass, five in a row end the run.

    Single spikes are common and heal by themselves (PaLM, Chowdhery et al. 2022, section 5.1);
    losses above the ceiling are kept out of the statistics that judge the next ones.
    """

    def __init__(self, earlier: Sequence[float] = ()) -> None:
        self.usual: list[float] = []
        self.high: list[float] = []
        for loss in earlier:
            self._take(loss)

    @property
    def suspicious(self) -> bool:
        """The last loss was too high: no checkpoint of such a state replaces a good one."""
        return bool(self.high)

    def add(self, loss: float, step: int, learning_rate: float) -> None:
        """TrainerError when this is the fifth loss in a row above the ceiling."""
        self._take(loss)
        if len(self.high) >= PATIENCE:
            raise TrainerError(
                f"training diverges: the last {PATIENCE} losses up to step {step} are "
                f"{', '.join(f'{value:.3f}' for value in self.high)}, usual was at most "
                f"{ceiling(self.usual):.3f}",
                cause="the learning rate is too high for this model and data",
                fix=f"halve the learning rate: --set learning_rate={learning_rate / 2:g}; the "
                "checkpoint before the rise is kept",
                adjustment={"learning_rate": learning_rate / 2},
                fault="divergence",
            )

    def _take(self, loss: float) -> None:
        if loss > ceiling(self.usual):
            self.high.append(loss)
        else:
            self.high.clear()
            self.usual = [*self.usual, loss][-WINDOW:]


def stall_seconds(step_seconds: Sequence[float]) -> float:
    """Silence after which a run counts as stalled: 10 median steps, at least 5 minutes; half an
    hour before the first step, which may compile kernels and read a cold disk."""
    if not step_seconds:
        return STALL_FIRST_S
    return max(STALL_FACTOR * statistics.median(step_seconds), STALL_LEAST_S)


def stalled(silence: float, limit: float, stage: str, step: int, place: str) -> TrainerError:
    """The error of a run that stands still."""
    return TrainerError(
        f"{stage} has stood still for {silence:.0f} s after step {step} (limit {limit:.0f} s), "
        f"in {place}",
        cause="a hung GPU or driver, a storage that never answers, or a machine that is out of "
        "memory and swaps",
        fix="resume the job on another pod: the newest complete checkpoint is kept",
        fault="stall",
    )
