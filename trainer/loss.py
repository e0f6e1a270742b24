"""Log-likelihood of the labelled tokens only, in fp32 and in pieces of bounded memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

IGNORED = -100
PIECE_BYTES = 128 << 20


def labelled(hidden: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states that predict a label, and those labels: [b,t,h],[b,t] -> [n,h],[n]."""
    targets = labels[:, 1:]
    keep = targets != IGNORED
    return hidden[:, :-1][keep], targets[keep]


def token_nll(hidden: torch.Tensor, head: nn.Module, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood per token in nats, fp32: [n,h],[n] -> [n]. No gradient."""
    pieces = []
    with torch.no_grad():
        for states, wanted in _pieces(hidden, targets, head):
            logits = head(states).float()
            pieces.append(nn.functional.cross_entropy(logits, wanted, reduction="none"))
    return torch.cat(pieces) if pieces else hidden.new_zeros(0, dtype=torch.float32)


def summed_nll(hidden: torch.Tensor, head: nn.Module, targets: torch.Tensor) -> torch.Tensor:
    """Sum of the negative log-likelihoods in nats, with gradient for `hidden`; head is frozen."""
    weight = head.weight
    if not isinstance(weight, torch.Tensor) or weight.requires_grad:
        raise TypeError("the labelled loss needs a frozen LM head")
    total: torch.Tensor = _SummedNll.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
    return total


class _SummedNll(torch.autograd.Function):
    """Linear layer and cross entropy in one: d nll / d logits = softmax - one_hot.

    The gradient is made in the forward pass, piece by piece, so that the logits of a whole
    sequence (tokens x vocabulary) never exist at once.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        gradient = torch.zeros_like(hidden)
        size = piece_length(weight.shape[0])
        for start in range(0, len(targets), size):
            rows = slice(start, start + size)
            logits = (hidden[rows].to(weight.dtype) @ weight.T).float()
            wanted = targets[rows, None]
            # In place, a pass over the logits fewer than logsumexp and a second exp.
            logits.sub_(logits.amax(dim=-1, keepdim=True))
            at_target = logits.gather(1, wanted)
            normaliser = logits.exp_().sum(dim=-1, keepdim=True)
            total += (normaliser.log() - at_target).sum()
            logits.div_(normaliser)
            logits[torch.arange(len(wanted), device=wanted.device), targets[rows]] -= 1
            gradient[rows] = (logits.to(weight.dtype) @ weight).to(hidden.dtype)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None


def piece_length(vocabulary: int) -> int:
    """Tokens whose fp32 logits fit into one piece."""
    return max(16, PIECE_BYTES // (4 * vocabulary))


def _pieces(
    hidden: torch.Tensor, targets: torch.Tensor, head: nn.Module
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    size = piece_length(int(head.out_features))  # type: ignore[arg-type]
    starts = range(0, len(targets), size)
    return [(hidden[at : at + size], targets[at : at + size]) for at in starts]
