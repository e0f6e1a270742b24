"""What one attempt's training is given: data, plan, seams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from brightrun.jobs import JobSpec
from trainer import data
from trainer.batches import Cut
from trainer.calibrate import MicroStep
from trainer.distributed import Group
from trainer.lockstep import Apart, Pace
from trainer.memory import Fit

ONE = Cut(1)


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained: the samples, the steps over them, and where to go on from.

    cut: how a step is divided to begin with. on_step is told the micro-steps of every optimizer
    step and how it was computed, when it is done; `allocate` is called before every micro-step,
    update and validation with what it needs, and may raise, as an allocator does. in_fixed_order:
    see `libraries.in_fixed_order`.
    """

    spec: JobSpec
    samples: list[data.Sample]
    plan: list[list[int]]
    scratch: Path
    resume: Path | None
    check: Callable[[], None]
    activation_tokens: int
    cut: Cut = ONE
    on_step: Callable[[list[MicroStep], Fit], None] | None = None
    allocate: Callable[[str, Any], None] = lambda what, needs: None
    group: Group = field(default_factory=Group)
    pace: Pace = field(default_factory=lambda: Apart(Group()))
    in_fixed_order: bool = field(default_factory=torch.cuda.is_available)
