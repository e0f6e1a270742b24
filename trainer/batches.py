"""A step's sequences -> micro-batches: pure and deterministic, the same in every attempt.

How a step is cut decides memory and time, never the result: the loss is the sum over all labelled
tokens of the step divided by their number, so the gradient is the same for every cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from brightrun.durations import MAX_PADDING
from trainer import packing
from trainer.data import IGNORED, Sample

if TYPE_CHECKING:
    import torch

# Up to so many tokens padding is free on a GPU: calling the kernels takes as long as computing them
# (70B in NF4 on an H100: 1.6-2.3 s from 256 to 2,048 tokens, measured; then 0.86 ms a token).
FREE_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Cut:
    """How many sequences (or packed rows) are computed at once; `row`: tokens of a packed row,
    None = not packed. tokens: computed at once instead, padding included, where short sequences are
    grouped (a longer one is alone); 0 = sequences are counted."""

    micro_batch: int
    row: int | None = None
    tokens: int = 0

    def holds(self, count: int, width: int) -> bool:
        """Whether so many sequences, padded to `width` tokens, are computed at once."""
        if self.tokens:
            return count * width <= self.tokens
        return count <= self.micro_batch

    def words(self) -> str:
        """For people."""
        if self.tokens:
            return f"up to {self.tokens} tokens at once"
        packed = "" if self.row is None else " of packed rows"
        return f"micro-batch {self.micro_batch}{packed}"

    def may_pad(self, area: int, real: int) -> bool:
        """Whether `area` tokens of which `real` are no padding are worth a micro-step less."""
        free = FREE_TOKENS if self.tokens else 0
        return area <= free or area - real <= MAX_PADDING * area


@dataclass(frozen=True, slots=True)
class Span:
    """Where a sequence lies among a micro-batch's tokens, flattened: begin <= its places < end."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Tensors of one forward pass.

    ids, positions: [b,t] long, padded on the right. Positions are None where every row is one
    sequence. places: [n] indices into the flattened [b*t] hidden states that predict a label;
    targets: [n] those labels. tokens = b*t are computed, `real` of them are not padding; squares
    = sum of the squared lengths that attention goes over (packed: with a varlen kernel).

    There is no mask: attention is causal, so no real token sees the padding behind it, and packed
    conversations are kept apart by their positions, which start at 0 again.
    """

    ids: torch.Tensor
    positions: torch.Tensor | None
    places: torch.Tensor
    targets: torch.Tensor
    tokens: int
    real: int
    squares: int
    spans: tuple[Span, ...] = ()

    def to(self, device: torch.device) -> MicroBatch:
        """The same on `device`; a GPU is not waited for."""

        def there(tensor: torch.Tensor) -> torch.Tensor:
            # Only from pinned memory is a copy to a GPU made beside what is computed.
            pinned = tensor.pin_memory() if device.type == "cuda" else tensor
            return pinned.to(device, non_blocking=True)

        ids, places, targets = map(there, (self.ids, self.places, self.targets))
        positions = None if self.positions is None else there(self.positions)
        return replace(self, ids=ids, positions=positions, places=places, targets=targets)


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step as it was computed. scored: labelled tokens in its micro-batches; mine:
    places of the micro-batches that this process computed."""

    samples: Sequence[Sample]
    micro: Sequence[MicroBatch]
    scored: int
    mine: Sequence[int]

    @property
    def tokens(self) -> int:
        """Without padding."""
        return sum(len(sample.ids) for sample in self.samples)

    @property
    def squares(self) -> int:
        """Sum of the squared lengths of its sequences."""
        return sum(len(sample.ids) ** 2 for sample in self.samples)


def groups(lengths: Sequence[int], how: Cut) -> list[list[int]]:
    """Positions of the sequences of every micro-batch: longest first, neighbours in length
    together, as many as it holds and may pad. Pure."""
    made: list[list[int]] = []
    filled = 0
    for position in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        length = lengths[position]
        if made:
            width, count = lengths[made[-1][0]], len(made[-1]) + 1
            if how.holds(count, width) and how.may_pad(count * width, filled + length):
                made[-1].append(position)
                filled += length
                continue
        made.append([position])
        filled = length
    return made


def cut(samples: Sequence[Sample], how: Cut) -> list[MicroBatch]:
    """The micro-batches of a step, on the CPU."""
    lengths = [len(sample.ids) for sample in samples]
    if how.row is None:
        chosen = groups(lengths, how)
        return [collate([[samples[at]] for at in group]) for group in chosen]
    rows = packing.rows(lengths, how.row)
    return [
        # One long row: varlen kernels ask for it, and nothing is padded.
        collate([[samples[at] for row in rows[first : first + how.micro_batch] for at in row]])
        for first in range(0, len(rows), how.micro_batch)
    ]


def collate(rows: Sequence[Sequence[Sample]]) -> MicroBatch:
    """One row for every entry; the samples of an entry lie one after another."""
    import torch  # plans and forecasts are made without it

    width = max(sum(len(sample.ids) for sample in row) for row in rows)
    packed = any(len(row) > 1 for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    positions = torch.arange(width).repeat(len(rows), 1) if packed else None
    places: list[int] = []
    targets: list[int] = []
    spans: list[Span] = []
    real = squares = 0
    for number, row in enumerate(rows):
        at = 0
        for sample in row:
            end = at + len(sample.ids)
            ids[number, at:end] = torch.tensor(sample.ids)
            if positions is not None:
                positions[number, at:end] = torch.arange(end - at)
            # Nothing predicts the first token of a sequence, least of all the one before it.
            for offset, label in enumerate(sample.labels[1:]):
                if label != IGNORED:
                    places.append(number * width + at + offset)
                    targets.append(label)
            spans.append(Span(sample.sample_id, number * width + at, number * width + end))
            real += end - at
            squares += (end - at if packed else width) ** 2
            at = end
        if positions is not None:
            positions[number, at:] = torch.arange(width - at)
    return MicroBatch(
        ids, positions, torch.tensor(places), torch.tensor(targets),
        ids.numel(), real, squares, tuple(spans),
    )  # fmt: skip


def padding_share(micro: Sequence[MicroBatch]) -> float:
    """Share of the computed tokens of a step that are padding (0-1)."""
    computed = sum(batch.tokens for batch in micro)
    return 1 - sum(batch.real for batch in micro) / computed
