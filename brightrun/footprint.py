"""Memory that a base model needs, by formula: weights, adapter with optimizer, activations."""

from __future__ import annotations

from brightrun.physics import (
    BYTES,
    GIGA,
    LAYER_PEAK,
    Machine,
    ModelProfile,
    Precision,
    activation_bytes,
)


def weights_gb(model: ModelProfile, precision: Precision) -> float:
    """Frozen weights in GB: linears in `precision`, embeddings and head in 16 bit (32 for fp32)."""
    table = model.vocab * model.hidden
    wide = 4.0 if precision == "fp32" else 2.0
    linear = max(0.0, model.parameters - table)
    return (linear * BYTES[precision] + 2 * table * wide) / GIGA


def memory_gb(
    model: ModelProfile,
    machine: Machine,
    *,
    precision: Precision,
    lora_r: int,
    tokens: int,
    checkpointing: bool,
    logits: float = 2.5,
) -> float:
    """Peak memory in GB for a micro-batch of `tokens` (70B NF4 r16: 58-60 at 4,096).

    Weights + LoRA with fp32 Adam (16 B each) + activations kept (2 B x hidden x layers with
    checkpointing, else all: `activation_bytes`) + one layer's peak (73 B x hidden) + `logits` fp32
    logit copies (0: the loss never holds them) + 3 GB runtime (1 on a CPU, where activations are
    32 bit).
    """
    wide = 1.0 if machine.is_gpu else 2.0
    kept = wide * 2.0 * model.hidden if checkpointing else activation_bytes(model, 3.0)
    per_token = model.layers * kept + wide * LAYER_PEAK * model.hidden + logits * 4.0 * model.vocab
    lora = 16.0 * model.lora_parameters(lora_r)
    fixed = 3.0 if machine.is_gpu else 1.0
    return weights_gb(model, precision) + (lora + per_token * tokens) / GIGA + fixed
