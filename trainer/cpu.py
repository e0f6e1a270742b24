"""Faster products on a CPU without bf16 instructions: the same weights, fewer passes over memory.

On a GPU nothing of this is used. Measured on 2 cores, SmolLM2-135M, 930 tokens, one training
sequence: 12.8 CPU seconds with PEFT's layers, 11.6 with these.
"""

from __future__ import annotations

import types
from typing import Any

import bitsandbytes as bnb
import torch
from torch import nn

from trainer.dropout import ADAPTER, SequenceDropout


def keep_dense(layer: Any) -> None:
    """Let a 4-bit layer multiply with its weight unpacked once: the numbers are those of NF4."""
    state = layer.weight.quant_state
    dense = bnb.functional.dequantize_4bit(layer.weight.data, state).to(layer.compute_dtype)
    layer.dense_weight = dense.view(layer.out_features, layer.in_features).contiguous()

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(self.compute_dtype)
        product = nn.functional.linear(x.to(self.compute_dtype), self.dense_weight, bias)
        return product.to(x.dtype)

    layer.forward = types.MethodType(forward, layer)


def fuse_lora(model: nn.Module) -> int:
    """Let the LoRA layers of `model` train in one function each; returns how many were changed.

    Only where base weight and adapter are fp32, and dropout is none or `trainer.dropout`'s; outside
    of training PEFT's own forward runs.
    """
    changed = 0
    layers: list[Any] = list(model.modules())
    for layer in layers:
        if not hasattr(layer, "lora_A") or ADAPTER not in layer.lora_A:
            continue
        weight = _weight(layer)
        fits = weight is not None and weight.dtype == torch.float32
        fits = fits and not isinstance(layer.lora_dropout[ADAPTER], nn.Dropout)
        if not fits or getattr(layer.base_layer, "bias", None) is not None:
            continue
        layer.unfused_forward = layer.forward
        layer.forward = types.MethodType(_fused_forward, layer)
        changed += 1
    return changed


def _weight(layer: Any) -> torch.Tensor | None:
    base = layer.base_layer
    if isinstance(base, bnb.nn.Linear4bit):
        return getattr(base, "dense_weight", None)
    return base.weight if isinstance(base, nn.Linear) else None


def _fused_forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if not self.training or self.disable_adapters or not torch.is_grad_enabled():
        return self.unfused_forward(x, *args, **kwargs)
    weights = (_weight(self), self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight)
    dropout = self.lora_dropout[ADAPTER]
    keep, scale = None, self.scaling[ADAPTER]
    if isinstance(dropout, SequenceDropout):
        keep, scale = dropout.keep(x), scale / (1 - dropout.p)
    return _LoraProduct.apply(x, *weights, scale, keep)  # type: ignore[no-untyped-call]


class _LoraProduct(torch.autograd.Function):
    """y = x W' + s (x * keep) A' B', scale s = scaling / (1 - dropout); W is frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor,
        scale: float, keep: torch.Tensor | None,
    ) -> torch.Tensor:  # fmt: skip
        rows = x.reshape(-1, x.shape[-1])
        keep = None if keep is None else keep.view(rows.shape)
        inner = (rows if keep is None else rows * keep) @ a.T
        out = rows @ weight.T
        out.addmm_(inner, b.T, alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, inner, keep)
        ctx.scale = scale
        ctx.shape = x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, a, b, inner, keep = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        grad_b = (grad.T @ inner).mul_(ctx.scale)
        grad_inner = (grad @ b).mul_(ctx.scale)
        grad_a = grad_inner.T @ (rows if keep is None else rows * keep)
        grad_x = None
        if ctx.needs_input_grad[0]:
            through = grad_inner @ a
            grad_x = (grad @ weight).add_(through if keep is None else through.mul_(keep))
            grad_x = grad_x.view(ctx.shape)
        return grad_x, None, grad_a, grad_b, None, None
