"""Log-likelihood of the labelled tokens only, in fp32 and in pieces of bounded memory.

What is measured has fp32 logits too: a logit of 20 in bf16 is a multiple of 0.125, and the options
of a question tie. Training rounds its logits to the head's format, as everybody's does.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

IGNORED = -100
PIECE_BYTES = 128 << 20
# Of the head in fp32 at a time: a CPU keeps it in its cache.
HEAD_BYTES = 16 << 20


def labelled(hidden: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states that predict a label, and those labels: [b,t,h],[b,t] -> [n,h],[n]."""
    targets = labels[:, 1:]
    keep = targets != IGNORED
    return hidden[:, :-1][keep], targets[keep]


def token_nll(hidden: torch.Tensor, head: nn.Module, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood per token in nats, fp32: [n,h],[n] -> [n]. No gradient."""
    return -logprobs(hidden, head, targets[:, None])[:, 0]


def logprobs(hidden: torch.Tensor, head: nn.Module, wanted: torch.Tensor) -> torch.Tensor:
    """Log-softmax over the vocabulary at some of its ids: [n,h],[n,k] -> [n,k]. No gradient.

    Everything is fp32, whatever format the head is stored in: its rows are unpacked piece by piece.
    """
    weight = _weight(head)
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        states = hidden.float()
        found = states.new_zeros(wanted.shape)
        total = states.new_full((len(states),), -torch.inf)
        rows = max(16, HEAD_BYTES // (4 * weight.shape[1]))
        for first in range(0, len(weight), rows):
            part = weight[first : first + rows].float()
            size = piece_length(len(part))
            for start in range(0, len(states), size):
                piece = slice(start, start + size)
                logits = states[piece] @ part.T
                total[piece] = torch.logaddexp(total[piece], logits.logsumexp(dim=-1))
                at = wanted[piece] - first
                here = logits.gather(1, at.clamp(0, len(part) - 1))
                found[piece] = torch.where((at >= 0) & (at < len(part)), here, found[piece])
        return found - total[:, None]


def _weight(head: nn.Module) -> torch.Tensor:
    """The matrix [v,h] of an LM head; TypeError when its logits are something else than that."""
    weight, bias = head.weight, getattr(head, "bias", None)
    plain = isinstance(weight, torch.Tensor) and weight.is_floating_point() and weight.dim() == 2
    if not plain or bias is not None:
        raise TypeError("an LM head with a bias or packed weights is not known here")
    return cast(torch.Tensor, weight)


def summed_nll(hidden: torch.Tensor, head: nn.Module, targets: torch.Tensor) -> torch.Tensor:
    """Sum of the negative log-likelihoods in nats, with gradient for `hidden`; head is frozen."""
    weight = _weight(head)
    if weight.requires_grad:
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
