"""The validation loss in the midst of training, which goes on as if it had not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer import data, loss
from trainer.retrying import once_more

if TYPE_CHECKING:
    from trainer.labelled import LabelledTrainer


def validation_loss(trainer: LabelledTrainer, held_out: list[data.Sample]) -> float:
    """Token-weighted mean over `held_out` in nats.

    OutOfMemory: when one conversation at a time does not fit, also with all that can be freed.
    """
    what = f"the validation after step {trainer.state.global_step}"
    return once_more(
        lambda: _mean_nll(trainer, held_out),
        lambda failure: trainer.narrator.tried_again(what, failure),
        lambda failure, free: trainer.too_large(
            f"{what} does not fit: its longest conversation", held_out, failure, free
        ),
    )


def _mean_nll(trainer: LabelledTrainer, held_out: list[data.Sample]) -> float:
    trainer.model.eval()
    device, group, pace = trainer.args.device, trainer.work.group, trainer.work.pace
    sums = torch.zeros(2, dtype=torch.float64, device=device)

    def score(number: int) -> None:
        trainer.safe_point()
        sample = held_out[number]
        trainer.work.allocate("validation", sample)
        hidden, head = trainer.hidden(torch.tensor([sample.ids], device=device))
        labels = torch.tensor([sample.labels], device=device)
        states, targets = loss.labelled(hidden, labels)
        nats = loss.token_nll(states, head, targets).double().sum()
        sums.add_(torch.stack([nats, nats.new_tensor(len(targets))]))

    turns = pace.mine([len(sample.ids) for sample in held_out])
    with group.together(), torch.no_grad():
        pace.through(turns, score, training=False)
    group.add_up([sums])
    trainer.model.train()
    return (sums[0] / sums[1]).item()
