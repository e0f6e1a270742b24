"""What fits into the memory of one GPU: estimates by `brightrun.footprint`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brightrun.errors import ConfigurationError
from brightrun.footprint import memory_gb, weights_gb
from brightrun.physics import (
    BYTES,
    GIGA,
    LAYER_PEAK,
    Machine,
    ModelProfile,
    activation_bytes,
)

if TYPE_CHECKING:
    from trainer.wishes import Dtype, Place, Wish

# The allocator's fragmentation and what other libraries take.
USABLE = 0.92
LIGER_FAMILIES = frozenset({"llama", "qwen2", "qwen3"})
# Bytes of an element that a token leaves for the backward pass. With Liger's kernels in bf16
# 1.07-1.10 were measured (8B, NF4, r 16, dropout on, H100); without them a guess: bf16, and half
# again for the fp32 casts of adapter inputs under autocast.
LIGER_ACTIVATION_BYTES, GPU_ACTIVATION_BYTES = 1.3, 3.0
# Bytes of a parameter that fully_shard splits: without NF4's quantisation constants, which every
# process keeps.
SPLIT_BYTES = BYTES | {"nf4": 0.5}
# Layers that are whole at once: the one that is computed, and the one gathered meanwhile.
WHOLE_LAYERS = 2


def check_room(place: Place, model: ModelProfile, wish: Wish) -> None:
    """ConfigurationError before anything is loaded when a GPU cannot even hold its part."""
    check_host(place, model, wish)
    need = estimate(place, model, wish, 0)
    if place.device != "cuda" or need <= place.memory_gb:
        return
    cause = "each process holds the whole model"
    fix = "use several such GPUs (BRIGHTRUN_PROCESSES), which then share its layers, one"
    if place.shards > 1:
        cause = f"a share of 1/{place.shards} of its layers and all that is not shared is too much"
        fix = "use more GPUs, some"
    raise ConfigurationError(
        f"{model.name} needs at least {need:.0f} GB in {wish.precision} on each GPU, "
        f"{place.gpu or 'the GPU'} has {place.memory_gb:.0f} GB free",
        cause=cause,
        fix=f"{fix} with more memory (an 80 GB one holds 70B in nf4), or a smaller model",
        adjustment=smaller(wish),
        fault="pod_too_small",
    )


def check_host(place: Place, model: ModelProfile, wish: Wish) -> None:
    """ConfigurationError when the host cannot hold a copy for each process: a spread model is
    loaded there whole, and then goes to the GPUs layer by layer."""
    if place.shards == 1 or place.host_gb is None:
        return
    copy = weights_gb(model, wish.precision)
    if place.processes * copy > place.host_gb:
        raise ConfigurationError(
            f"{place.processes} processes load {model.name} in {wish.precision}, {copy:.1f} GB "
            f"each, together {place.processes * copy:.1f} GB: the host has {place.host_gb:.1f} GB "
            "of memory free",
            cause="each process loads a whole copy into the host's memory before it keeps its "
            "share",
            fix="use a pod with more host memory, fewer processes (BRIGHTRUN_PROCESSES), or "
            "precision nf4 with a model whose files are stored in NF4",
            adjustment=smaller(wish),
            fault="pod_too_small",
        )


def smaller(wish: Wish) -> dict[str, str]:
    """The setting that makes a base model smaller; none below NF4."""
    return {} if wish.precision == "nf4" else {"precision": "nf4"}


def estimate(place: Place, model: ModelProfile, wish: Wish, tokens: int) -> float:
    """GB of a micro-batch of `tokens` with checkpointing: brightrun.footprint without logits (the
    loss never holds them), and all that the layer being recomputed leaves for its backward pass
    (elements as counted on a CPU, `place.element_bytes` each)."""
    known = memory_gb(
        model, Machine(place.gpu or "GPU", memory_gb=place.memory_gb), precision=wish.precision,
        lora_r=wish.lora_r, tokens=tokens, checkpointing=True, logits=0.0,
    )  # fmt: skip
    one_layer = activation_bytes(model, place.element_bytes)
    more = max(0.0, one_layer - LAYER_PEAK * model.hidden)
    return known - elsewhere_gb(place, model, wish) + more * tokens / GIGA


def each(dtype: Dtype, *, liger: bool) -> float:
    """Bytes of an activation's element that stay for the backward pass."""
    if dtype == "float32":
        return 2 * GPU_ACTIVATION_BYTES
    return LIGER_ACTIVATION_BYTES if liger else GPU_ACTIVATION_BYTES


def elsewhere_gb(place: Place, model: ModelProfile, wish: Wish) -> float:
    """GB of the base model's layers that lie on other GPUs while a layer is computed here."""
    if place.shards == 1:
        return 0.0
    parameters = max(0.0, model.parameters - model.vocab * model.hidden)
    split = parameters * SPLIT_BYTES[wish.precision] / GIGA
    gathered = min(1.0, WHOLE_LAYERS / model.layers)
    return split * max(0.0, 1 - 1 / place.shards - gathered)


def recomputed_tokens(place: Place, model: ModelProfile, wish: Wish) -> int:
    """Tokens of the largest micro-batch that fits with gradient checkpointing."""
    empty = estimate(place, model, wish, 0)
    per_token = (estimate(place, model, wish, 1_000_000) - empty) / 1e6
    return max(0, int((place.memory_gb * USABLE - empty) / per_token))


def kept_tokens(place: Place, model: ModelProfile, wish: Wish) -> int:
    """Tokens of the largest micro-batch whose activations all stay in memory."""
    left = place.memory_gb * USABLE - estimate(place, model, wish, 0)
    per_token = model.layers * activation_bytes(model, place.element_bytes)
    return max(0, int(left * GIGA / per_token))
