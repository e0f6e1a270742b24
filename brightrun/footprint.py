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
    kept_on,
    recomputes,
)

# GB of the libraries in a CPU pod before a model is there: 0.52 measured.
CPU_RUNTIME = 0.55
# Bytes that an element (`activation_bytes`) of a token leaves where a CPU computes it twice: from
# 1.2-1.3 GB with the model loaded, SmolLM2's first step of 2,486 tokens came to 2.9-3.4 GB in three
# jobs, 0.9-1.1 an element. Far more than the layer inputs that are kept: freed pieces of a layer do
# not go back to the system.
CPU_TWICE = 1.0


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
    logit copies (0: the loss never holds them) + 3 GB runtime. On a CPU activations are 32 bit, and
    CPU_TWICE, CPU_RUNTIME and `held_on_cpu_gb` count.
    """
    wide = 1.0 if machine.is_gpu else 2.0
    kept = 2.0 * model.hidden if checkpointing else activation_bytes(model, 3.0)
    per_token = model.layers * kept + wide * LAYER_PEAK * model.hidden
    if checkpointing and not machine.is_gpu:
        per_token = model.layers * activation_bytes(model, CPU_TWICE)
    per_token += logits * 4.0 * model.vocab
    lora = 16.0 * model.lora_parameters(lora_r)
    if machine.is_gpu:
        fixed = 3.0 + weights_gb(model, precision)
    else:
        fixed = CPU_RUNTIME + held_on_cpu_gb(model, precision)
    return (lora + per_token * tokens) / GIGA + fixed


def held_on_cpu_gb(model: ModelProfile, precision: Precision) -> float:
    """Weights in GB that a CPU pod holds: 32 bit, whatever they were stored in (a CPU with bf16
    instructions holds fewer); of NF4 the packed linears too, which the numbers come from."""
    if precision != "nf4":
        return weights_gb(model, "fp32")
    unpacked = max(0.0, model.parameters - model.vocab * model.hidden) * BYTES["fp32"]
    return weights_gb(model, precision) + unpacked / GIGA


def peak_gb(
    model: ModelProfile,
    machine: Machine,
    *,
    precision: Precision,
    lora_r: int,
    longest: int,
    micro_batch: int,
    may_recompute: bool,
) -> float:
    """Peak memory in GB of a job whose longest sequence has `longest` tokens.

    On a CPU only sequences that are too long are computed twice: a shorter one, all of whose
    activations stay, may need more. Of those the longest possible counts.
    """

    def needed(tokens: int) -> float:
        return memory_gb(
            model,
            machine,
            precision=precision,
            lora_r=lora_r,
            tokens=tokens * micro_batch,
            checkpointing=recomputes(machine, model, tokens, may_recompute),
            # Measured on a CPU: the loss never holds them. On a GPU nothing is promised before.
            logits=2.5 if machine.is_gpu else 0.0,
        )

    if machine.is_gpu or not may_recompute:
        return needed(longest)
    return max(needed(longest), needed(min(longest, kept_on(machine, model))))
