"""LoRA dropout whose masks belong to the sequences, not to the micro-batch that they are in.

A mask is a function of seed, step, sequence and layer alone: the same however a step is cut, packed
or padded, in every process and attempt, and when activations are computed twice.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from trainer.batches import MicroBatch, Span

ADAPTER = "default"


class Now:
    """Whose tokens are computed just now: told by the trainer, read by the dropout of every layer.

    tokens: of the micro-batch, `padded` or not; 0 = nobody's.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.step = 0
        self.tokens = 0
        self.padded = False
        self.spans: tuple[Span, ...] = ()

    @contextlib.contextmanager
    def computing(self, step: int, batch: MicroBatch) -> Iterator[None]:
        """Around the forward and the backward pass of a micro-batch."""
        self.step, self.spans = step, batch.spans
        self.tokens, self.padded = batch.tokens, batch.real < batch.tokens
        try:
            yield
        finally:
            self.tokens = 0


class SequenceDropout(nn.Module):
    """Stands where torch's dropout was. `layer`: the number of its LoRA layer in the model."""

    def __init__(self, p: float, layer: int, now: Now) -> None:
        super().__init__()
        self.p = p
        self.layer = layer
        self.now = now

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        return (x * self.keep(x)).mul_(1 / (1 - self.p))

    def keep(self, x: torch.Tensor) -> torch.Tensor:
        """True with probability 1 - p (to 1/65536) for every entry of x: [..., h].

        Tokens that are not the micro-batch's draw from the global generator.
        """
        width, now = x.shape[-1], self.now
        tokens = x.shape[:-1].numel()
        make = torch.zeros if now.padded else torch.empty
        # Four entries from each random number.
        numbers = make((tokens, -(-width // 4)), dtype=torch.int64, device=x.device)
        if tokens == now.tokens:
            generator = torch.Generator(x.device)
            for span in now.spans:
                generator.manual_seed(seed(now.seed, now.step, span.name, self.layer))
                numbers[span.begin : span.end].random_(-(2**63), None, generator=generator)
        else:
            numbers.random_(-(2**63), None)
        least = round(self.p * 65536) - 32768
        return (numbers.view(torch.int16)[:, :width] >= least).view(x.shape)


def install(model: nn.Module, seed: int) -> Now:
    """Give the LoRA layers of `model` such dropout in place of torch's."""
    now = Now(seed)
    layers: list[Any] = [m for m in model.modules() if hasattr(m, "lora_dropout")]
    for number, layer in enumerate(layers):
        plain = layer.lora_dropout[ADAPTER]
        if isinstance(plain, nn.Dropout):
            layer.lora_dropout[ADAPTER] = SequenceDropout(plain.p, number, now)
    return now


def seed(*of: object) -> int:
    """Of the random numbers of what is named so. Pure."""
    digest = hashlib.sha256(":".join(map(str, of)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
