"""What the terminal says of a job in numbers, and its loss as one line of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite

from brightrun import losses
from brightrun.context import JobContext
from brightrun.progress import Progress
from flows.terminal import money
from reports.sparkline import thin

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-=+*%#"
CURVE_WIDTH = 48


def curve(points: Sequence[tuple[int, float]], *, plain: bool = False) -> str:
    """First loss, a block for each stretch of steps (its mean), last loss; empty below two steps.

    plain: for a terminal without Unicode.
    """
    known = [(step, loss) for step, loss in points if isfinite(loss)]
    if len(known) < 2:
        return ""
    means = [mean for _, mean in thin(known, CURVE_WIDTH)]
    low, spread = min(means), (max(means) - min(means)) or 1.0
    blocks = ASCII if plain else BLOCKS
    drawn = "".join(blocks[round((mean - low) / spread * (len(blocks) - 1))] for mean in means)
    return f"loss {known[0][1]:.3f} {drawn} {known[-1][1]:.3f}"


def numbers(job: JobContext, state: Progress) -> str:
    """One line: step, epoch, loss, rate, speed, GPU, memory, interruptions, cost."""
    parts = []
    if state.total_steps:
        parts.append(f"step {state.step}/{state.total_steps}, epoch {state.epoch:.2f}")
    if state.loss is not None:
        parts.append(f"loss {state.loss:.3f}")
    if state.validation_losses:
        parts.append(f"validation {state.validation_losses[-1][1]:.3f}")
    if state.learning_rate is not None:
        parts.append(f"rate {state.learning_rate:.1e}")
    if state.tokens_per_s:
        parts.append(f"{state.tokens_per_s:.0f} tokens/s")
    if state.gpu_percent is not None:
        parts.append(f"GPU {state.gpu_percent:.0f}%")
    if state.memory_mb:
        parts.append(f"memory {state.memory_mb / 1024:.1f} GB")
    if state.interruptions:
        parts.append(losses.counted(state.interruptions, state.resumed))
    cost = job.ledger.cost_so_far(job.job_id, datetime.now(UTC))
    parts.append(f"cost so far {money(float(cost))}")
    if found := job.revised(state):
        parts[-1] += f" of about {money(found['cost_usd']['likely'])} (revised)"
    return "  ".join(parts)
