"""How long each part of a job takes, in seconds, by physics (`remembered`: by past jobs). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from brightrun.crowding import under_load
from brightrun.intervals import seconds_between, step_interval, steps_between
from brightrun.jobs import Hyperparameters
from brightrun.markets import expected_hours
from brightrun.physics import (
    Machine,
    ModelProfile,
    Range,
    exactly,
    forward_seconds,
    generation_seconds,
    recomputing,
    training_seconds,
)

Part = Literal[
    "boot",
    "model_loading",
    "preprocessing",
    "training",
    "measuring",
    "saving",
    "finalization",
    "interruptions",
]
PARTS: tuple[Part, ...] = (
    "boot",
    "model_loading",
    "preprocessing",
    "training",
    "measuring",
    "saving",
    "finalization",
    "interruptions",
)
PER_TOKEN: frozenset[str] = frozenset({"preprocessing", "training", "measuring"})
DETECTION = Range(60.0, 75.0, 120.0)  # seconds until a rented pod is believed lost
DETECTION_HERE = Range(2.0, 10.0, 75.0)  # a process of this machine is seen to be gone
# What the trainer computes at once on a GPU at most, padding included.
GROUPED_TOKENS = 8192
# A micro-batch is ended rather than padded beyond this share: so much of it may be padding.
MAX_PADDING = 0.2
# Answers that the trainer writes at once. On 2 cores 12 scenarios took 43 CPU seconds at batch 12,
# 63 at batch 6, 77 at batch 4. On a GPU a step of 70B in NF4 is bound by its calls (0.24 s for 3
# answers): the more at once the better, and 64 x 1,000 tokens of keys and values are 21 GB; what
# does not fit is halved.
ANSWERS_AT_ONCE = {"cpu": 12, "cuda": 64}


@dataclass(frozen=True, slots=True)
class Work:
    """What has to be done; tokens are per epoch (training) or per model (measuring).

    sum_squared_tokens: sum over training sequences of tokens**2; longest: tokens of the longest
    sequence; steps: optimizer steps of the whole job; micro_batch: sequences per micro-step;
    evaluations: validation losses during training; prompt_tokens and question_tokens: typical
    length of one scenario's and one question's prompt; option_tokens: of a question answered by one
    option's text; neutral_tokens: of all neutral passages; harness_tokens: of lm-eval's tasks;
    probe_tokens: training conversations read for the data feedback; models: how many are measured;
    known: kinds of measurement that an earlier job made of the baseline (brightrun.baselines);
    interruptions: planned (`--interrupt-at`).
    """

    train_tokens: int
    sum_squared_tokens: int
    supervised_tokens: int
    sequences: int
    longest: int
    epochs: int
    steps: int
    validation_tokens: int = 0
    evaluations: int = 0
    scenarios: int = 0
    passes: int = 1
    questions: int = 0
    rotations: int = 1
    prompt_tokens: int = 250
    question_tokens: int = 180
    option_tokens: int = 0
    neutral_tokens: int = 0
    probe_tokens: int = 0
    harness_tokens: int = 0
    models: int = 2
    known: frozenset[str] = frozenset()
    max_new_tokens: int = 0
    micro_batch: int = 1
    interruptions: int = 0

    @property
    def micro_steps(self) -> int:
        """Forward-backward passes of the whole job."""
        return self.epochs * -(-self.sequences // max(1, self.micro_batch))

    @property
    def grouped_micro_steps(self) -> int:
        """The same where short sequences share a micro-step of GROUPED_TOKENS, or of the longest
        sequence's where that has more, less what padding may take (trainer.batches; memory may
        allow fewer)."""
        most = max(self.longest, GROUPED_TOKENS)
        full = -(-self.train_tokens * self.epochs // round((1 - MAX_PADDING) * most))
        return min(self.micro_steps, max(self.steps, full))

    def measured(self, kind: str) -> int:
        """How many models a pod has to measure in that kind."""
        return self.models - (kind in self.known)

    @property
    def forward_tokens(self) -> int:
        """Tokens read while measuring, all models (adapter off and on)."""
        each = {
            "likelihood": self.validation_tokens,
            "neutral": self.neutral_tokens,
            "knowledge": self.questions * self.rotations * self.question_tokens,
            "option_text": self.questions * 4 * self.option_tokens,
            "harness": self.harness_tokens,
            "answers": self.scenarios * self.passes * self.prompt_tokens,
        }
        return sum(self.measured(kind) * n for kind, n in each.items()) + self.probe_tokens

    @property
    def generated_tokens(self) -> int:
        """Most tokens written while measuring, all models."""
        answers = self.scenarios * self.passes
        return self.measured("answers") * answers * self.max_new_tokens


@dataclass(frozen=True, slots=True)
class Observed:
    """What one part of a past job took: `tokens` from `units`, wall-clock `seconds`, and those of
    the processors, None where nobody counted them.

    machine: `Machine.key`; model: `ModelProfile.name`; tokens is ignored outside PER_TOKEN; job_id:
    "" before the ledger has it.
    """

    machine: str
    model: str
    precision: str
    part: str
    tokens: float
    seconds: float
    job_id: str = ""
    cpu_seconds: float | None = None

    @property
    def size(self) -> float:
        return size_of(self.part, self.tokens)


def size_of(part: str, tokens: float) -> float:
    """Units of a part: its tokens where it takes longer with them, else 1."""
    return tokens if part in PER_TOKEN else 1.0


def checkpoint_interval(values: Hyperparameters, steps: int, seconds_per_step: float) -> int:
    """Steps between saves: by the interval in steps, a tenth of all included, or by the clock's."""
    by_time = seconds_between(values.checkpoint_minutes * 60) / max(seconds_per_step, 1e-9)
    by_steps = steps_between(step_interval(values.checkpoint_steps, steps))
    return max(1, min(by_steps, int(by_time)))


def answers_at_once(work: Work, machine: Machine) -> int:
    """How many answers are written together: a pass's at most."""
    most = ANSWERS_AT_ONCE["cuda" if machine.is_gpu else "cpu"]
    return min(most, max(1, work.scenarios))


def units(
    work: Work, machine: Machine, model: ModelProfile, values: Hyperparameters
) -> dict[str, float]:
    """Size of each per-token part in one unit, so that jobs of different mixes compare.

    Training: tokens of all epochs, x 1.31 where activations are computed twice, and a third of one
    for each validation token. Measuring: tokens read, a written one counted at its likely cost.
    """
    tokens, squares = work.train_tokens * work.epochs, work.sum_squared_tokens * work.epochs
    twice = recomputing(machine, model, tokens, squares, values.gradient_checkpointing)
    read = forward_seconds(machine, model, 1000).likely / 1000
    at_once = answers_at_once(work, machine)
    written = generation_seconds(machine, model, 1000, values.precision, at_once).likely / 1000
    return {
        "preprocessing": float(work.train_tokens + work.validation_tokens),
        "training": tokens * twice + work.validation_tokens * work.evaluations / 3,
        "measuring": work.forward_tokens + work.generated_tokens * written / read,
    }


def guess(
    work: Work, machine: Machine, model: ModelProfile, values: Hyperparameters
) -> dict[Part, Range]:
    """Physics for every part but saving and interruptions, in seconds.

    Loading: file bytes at 2 / 1 / 0.2 GB/s (a GPU's network volume; 16-bit weights are read) or
    0.5 / 0.2 / 0.05 GB/s (this machine, repacking included). An answer uses 50-100 % of
    max_new_tokens. Finalization is a process of its own, that loads, reads and answers. What else
    runs on a CPU now: see `crowding.under_load`.
    """
    size = 2.0 * model.parameters / 1e9
    gpu, slower = machine.is_gpu, 1 / machine.speed
    boot = Range(60, 240, 600) if gpu else Range(6, 12, 60).times(slower)
    load = Range(size / 2, size, size / 0.2) if gpu else Range(size / 0.5, size / 0.2, size / 0.05)
    load = (load + Range(0.3, 1.5, 8)).times(slower)
    tokens = work.train_tokens + work.validation_tokens
    computing = machine.computing(values.precision)
    train = training_seconds(
        computing,
        model,
        work.train_tokens * work.epochs,
        work.sum_squared_tokens * work.epochs,
        work.grouped_micro_steps if gpu else work.micro_steps,
        values.gradient_checkpointing,
    )
    checks = forward_seconds(computing, model, work.validation_tokens * work.evaluations)
    at_once = answers_at_once(work, machine)
    written = generation_seconds(computing, model, work.generated_tokens, values.precision, at_once)
    golden = generation_seconds(
        machine, model, values.golden_prompts * work.max_new_tokens, values.precision, 1
    )
    parts: dict[Part, Range] = {
        "boot": boot,
        "model_loading": load,
        "preprocessing": Range(0.05, 0.3, 5) + Range(tokens / 1e6, tokens / 3e5, tokens / 3e4),
        "training": train + checks,
        "measuring": forward_seconds(computing, model, work.forward_tokens)
        + Range(written.low * 0.5, written.likely * 0.8, written.high),
        "finalization": load
        + Range(5, 9, 40).times(slower)
        + forward_seconds(machine, model, values.golden_prompts * work.prompt_tokens)
        + Range(golden.low * 0.5, golden.likely * 0.8, golden.high),
    }
    return parts if gpu else under_load(parts, machine.free)


def saving(work: Work, model: ModelProfile, values: Hyperparameters, every: int) -> Range:
    """Seconds of all checkpoints, written at 0.5 / 0.2 / 0.05 GB/s with 0.02-1 s of overhead.

    Size: 12 B per adapter parameter (fp32, Adam) + 0.3 MB (measured); 2.5 GB at 70B r16.
    """
    size = (12.0 * model.lora_parameters(values.lora_r) + 3e5) / 1e9
    saves = -(-work.steps // every)
    each = Range(0.02, 0.06, 1.0) + Range(size / 0.5, size / 0.2, size / 0.05)
    return each.times(saves)


def one_interruption(work: Work, machine: Machine, parts: dict[Part, Range], every: int) -> Range:
    """Seconds that a lost pod costs: detect + boot + load + half a checkpoint interval."""
    interval = parts["training"].likely / max(1, work.steps) * every
    seen = DETECTION if machine.is_gpu else DETECTION_HERE
    return seen + parts["boot"] + parts["model_loading"] + exactly(interval / 2)


def interruptions(work: Work, rate: Range, done: Range, loss: Range) -> Range:
    """Seconds lost to lost pods: the planned ones, and what `rate` an hour adds to the work.

    done: seconds of all the other parts; loss: of one interruption. See `markets.expected_hours`.
    """

    def bound(per_hour: float, seconds: float, lost: float) -> float:
        work_s = seconds + work.interruptions * lost
        return expected_hours(work_s, per_hour, lost / 3600) - seconds

    return Range(
        bound(rate.low, done.low, loss.low),
        bound(rate.likely, done.likely, loss.likely),
        bound(rate.high, done.high, loss.high),
    )
