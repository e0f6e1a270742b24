"""The loss of a fixed short text: stored with a checkpoint, and the same when it is resumed.

A forward pass in eval mode draws no random numbers and changes nothing: training goes on as if it
had not been.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from trainer import failures, loss
from trainer.data import Sample
from trainer.lockstep import Lockstep

if TYPE_CHECKING:
    from trainer.labelled import LabelledTrainer

TOKENS = 64


def text(held_out: list[Sample], training: list[Sample]) -> list[int]:
    """The first tokens of the first held-out conversation, else of the first one trained on."""
    return list((held_out or training)[0].ids[:TOKENS])


def at_save(trainer: LabelledTrainer, ids: list[int]) -> float | None:
    """Mean nats over all positions of `ids` as the leader alone computes them; None when they are
    not a number, do not fit, or need the other processes, which do not know of this checkpoint."""
    if isinstance(trainer.work.pace, Lockstep):
        return None
    try:
        found = float(_nats(trainer, ids))
    except (RuntimeError, MemoryError) as error:
        if not failures.is_out_of_memory(error):
            raise
        return None
    return found if math.isfinite(found) else None


def together(trainer: LabelledTrainer, ids: list[int]) -> float:
    """The same before the first step: computed where all processes are, known to all of them."""
    group, pace = trainer.work.group, trainer.work.pace
    total = torch.zeros((), dtype=torch.float64, device=trainer.args.device)

    def score(_: int) -> None:
        total.add_(_nats(trainer, ids))

    with group.together():
        pace.through(pace.mine([len(ids)]), score, training=False)
    group.add_up([total])
    return total.item()


def _nats(trainer: LabelledTrainer, ids: list[int]) -> torch.Tensor:
    trainer.model.eval()
    try:
        with torch.no_grad():
            tokens = torch.tensor([ids], device=trainer.args.device)
            hidden, head = trainer.hidden(tokens)
            states, targets = loss.labelled(hidden, tokens)
            # Logits as the training has them: the head in fp32 would make every save dearer.
            return torch.nn.functional.cross_entropy(head(states).float(), targets)
    finally:
        trainer.model.train()
