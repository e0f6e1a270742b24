"""What is used on this machine, and why: pure functions (model, GPU, memory, spec) -> Choice.

None of these choices decides the result beyond rounding: they belong to the launch, not to the
spec. Every reason goes into the events; `BRIGHTRUN_CHOICES='{"attention": "sdpa"}'` overrides.
No torch here: `trainer.hardware` and `trainer.weights` look, this module decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from brightrun.durations import GROUPED_TOKENS
from brightrun.physics import ModelProfile, Precision
from trainer.room import (
    LIGER_FAMILIES,
    USABLE,
    each,
    estimate,
    kept_tokens,
    recomputed_tokens,
)
from trainer.wishes import (
    Attention,
    Choice,
    Dtype,
    Optimizer,
    Parallel,
    Place,
    Weights,
    Wish,
)

BF16_CAPABILITY = (8, 0)
# From this share of the memory on, optimizer state is better paged out than an out-of-memory.
TIGHT = 0.85
# From about 2,000 tokens on a micro-step takes what its tokens take (70B in NF4 on an H100: 0.91 ms
# each at 2,048, 0.86 at 4,096 and at 6,000, measured): more than this gains nothing.
MOST_TOKENS = GROUPED_TOKENS


@dataclass(frozen=True, slots=True)
class Choices:
    """All choices of a pod. packed: tokens of a row that sequences share, 0 = none do; micro_batch:
    sequences (or rows) at once; grouped: tokens are counted instead, up to grouped_tokens (or the
    longest sequence's); activation_tokens: micro-batches up to that size
    keep their activations although checkpointing is on (None: `train` decides)."""

    parallel: Choice[Parallel]
    dtype: Choice[Dtype]
    attention: Choice[Attention]
    varlen: Choice[bool]
    packed: Choice[int]
    liger: Choice[bool]
    weights: Choice[Weights]
    optimizer: Choice[Optimizer]
    gradient_checkpointing: Choice[bool]
    activation_tokens: Choice[int | None]
    micro_batch: Choice[int]
    grouped: Choice[bool]
    grouped_tokens: Choice[int]

    def reasons(self) -> list[str]:
        """One line for each choice."""
        made = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [f"{name} {choice.value}: {choice.reason}" for name, choice in made]


def choose(
    place: Place, model: ModelProfile, wish: Wish, overrides: Mapping[str, Any] | None = None,
    kept: Mapping[str, Choice[Any]] | None = None,
) -> Choices:  # fmt: skip
    """Every choice; those of `overrides` and `kept` (see `trainer.overrides`) as given."""
    given, kept = overrides or {}, kept or {}

    def pick(name: str, own: Choice[Any]) -> Choice[Any]:
        if name in given:
            return Choice(given[name], "set by BRIGHTRUN_CHOICES")
        return kept.get(name, own)

    dtype = pick("dtype", compute_dtype(wish.precision, place))
    liger_ = pick("liger", liger(place, wish))
    place = replace(place, element_bytes=each(dtype.value, liger=liger_.value))
    mode = pick("parallel", parallel(place, model, wish))
    place = spread(place, mode.value)
    attention_ = pick("attention", attention(place, dtype.value))
    checkpointing = pick("gradient_checkpointing", gradient_checkpointing(place, model, wish))
    tokens = pick("activation_tokens", activation_tokens(place, model, wish))
    micro = pick("micro_batch", micro_batch(place, model, wish, checkpointing.value))
    together = pick("grouped", grouped(place))
    most = grouped_tokens(place, model, wish, checkpointing.value)
    if "micro_batch" in given:
        most = Choice(micro.value * wish.longest, "so many of the longest, as micro_batch says")
    at_once = max(micro.value * wish.longest, most.value if together.value else 0)
    varying = varlen(attention_.value)
    return Choices(
        parallel=mode,
        dtype=dtype,
        attention=attention_,
        varlen=varying,
        packed=packed(place, varying, wish),
        liger=liger_,
        weights=weights(wish, mode.value),
        optimizer=pick("optimizer", optimizer(place, model, wish, at_once)),
        gradient_checkpointing=checkpointing,
        activation_tokens=tokens,
        micro_batch=micro,
        grouped=together,
        grouped_tokens=most,
    )


def parallel(place: Place, model: ModelProfile, wish: Wish) -> Choice[Parallel]:
    """How the processes of a pod work together: the model whole in each, or spread over them."""
    if place.processes == 1:
        return Choice("single", "one process")
    if place.device == "cpu":
        return Choice("ddp", "processes on a CPU share one memory: each holds the whole model")
    most = (recomputed_tokens if wish.gradient_checkpointing else kept_tokens)(place, model, wish)
    room = f"the {place.memory_gb:.0f} GB of each GPU"
    if most >= wish.longest:
        return Choice("ddp", f"the whole model and {most} tokens fit into {room}")
    need = estimate(place, model, wish, wish.longest)
    return Choice(
        "fsdp", f"the whole model with {wish.longest} tokens needs {need:.0f} GB, more than {room}"
    )


def spread(place: Place, mode: Parallel) -> Place:
    """The place with the share of the model that falls to each process."""
    return replace(place, shards=place.processes if mode == "fsdp" else 1)


def compute_dtype(precision: Precision, place: Place) -> Choice[Dtype]:
    """Number format of the matrix products."""
    if precision == "fp32":
        return Choice("float32", "precision fp32 was asked for")
    if place.device == "cuda":
        if place.capability >= BF16_CAPABILITY:
            return Choice("bfloat16", "GPU with bf16 tensor cores")
        return Choice("float32", f"{gpu(place)} has no bf16 tensor cores: slow but right")
    if place.native_bf16:
        return Choice("bfloat16", "this CPU multiplies bf16 in hardware")
    return Choice(
        "float32", "this CPU emulates bf16 (5 times slower): the same weights computed in fp32"
    )


def attention(place: Place, dtype: Dtype) -> Choice[Attention]:
    """Attention kernel: FlashAttention 2 needs its package, Ampere or newer, and bf16."""
    if place.device == "cpu":
        return Choice("sdpa", "the only fast kernel on a CPU")
    if "flash_attn" not in place.packages:
        return Choice("sdpa", "the package flash-attn is not installed")
    if place.capability < BF16_CAPABILITY:
        return Choice("sdpa", f"{gpu(place)} is older than FlashAttention 2 asks for (8.0)")
    if dtype != "bfloat16":
        return Choice("sdpa", f"FlashAttention 2 does not compute in {dtype}")
    return Choice("flash_attention_2", f"installed, {gpu(place)}, bf16")


def varlen(attention_: Attention) -> Choice[bool]:
    """Whether packed conversations are computed without the attention between them."""
    if attention_ == "flash_attention_2":
        return Choice(True, "FlashAttention 2 takes the lengths: packing costs nothing")
    return Choice(False, f"{attention_} masks what lies between packed conversations, at full cost")


def packed(place: Place, varying: Choice[bool], wish: Wish) -> Choice[int]:
    """Tokens of a row that several sequences share, of which micro_batch are computed at once; 0 =
    each sequence has a row of its own."""
    if wish.packing is False:
        return Choice(0, "switched off by the spec")
    if place.device == "cpu":
        if wish.packing:
            return Choice(wish.max_length, "asked for by the spec: on a CPU a slow reference")
        return Choice(0, "a CPU computes the square of a whole row")
    if not varying.value:
        return Choice(0, varying.reason)
    return Choice(wish.longest, varying.reason)


def liger(place: Place, wish: Wish) -> Choice[bool]:
    """Fused RMSNorm, RoPE and SwiGLU (the loss is our own: labelled positions only)."""
    if place.device == "cpu":
        return Choice(False, "Liger kernels are Triton kernels: GPU only")
    if "liger_kernel" not in place.packages:
        return Choice(False, "the package liger-kernel is not installed")
    if wish.family not in LIGER_FAMILIES:
        return Choice(False, f"Liger kernels are used for {', '.join(sorted(LIGER_FAMILIES))} only")
    return Choice(True, f"installed, {wish.family} on a GPU")


def weights(wish: Wish, mode: Parallel = "single") -> Choice[Weights]:
    """Where NF4 weights come from."""
    if wish.precision != "nf4":
        return Choice("as stored", f"precision {wish.precision}")
    if wish.stored_nf4:
        return Choice("stored nf4", "the files hold NF4 weights: a quarter of the bytes to read")
    why = "the files hold 16 or 32 bit weights; a base model stored in NF4 has a quarter to read"
    if mode == "fsdp":
        why += ", and these are quantised on the CPU by every process: it starts much sooner"
    return Choice("quantised while loading", why)


def gradient_checkpointing(place: Place, model: ModelProfile, wish: Wish) -> Choice[bool]:
    """Whether activations may be computed twice; on a GPU only if the estimate asks for it."""
    if not wish.gradient_checkpointing:
        return Choice(False, "switched off by the spec")
    if place.device == "cpu":
        return Choice(True, "for sequences whose activations do not fit into free memory")
    kept, room = kept_tokens(place, model, wish), place.memory_gb * USABLE
    if wish.longest <= kept:
        return Choice(False, f"{wish.longest} tokens fit into {room:.0f} GB with all activations")
    return Choice(True, f"{wish.longest} tokens do not fit into {room:.0f} GB, {kept} would")


def activation_tokens(place: Place, model: ModelProfile, wish: Wish) -> Choice[int | None]:
    """Size of a micro-batch up to which nothing is computed twice."""
    if place.device == "cpu":
        return Choice(None, "from the memory that is free when training starts")
    return Choice(kept_tokens(place, model, wish), "what the memory estimate leaves room for")


def micro_batch(place: Place, model: ModelProfile, wish: Wish, checkpointing: bool) -> Choice[int]:
    """Sequences of the longest kind in one forward pass."""
    if place.device == "cpu":
        return Choice(1, "a CPU gains nothing from batches, and padding costs")
    fits = (recomputed_tokens if checkpointing else kept_tokens)(place, model, wish)
    if fits < wish.longest:
        need = estimate(place, model, wish, wish.longest)
        return Choice(1, f"tight: {need:.0f} GB estimated, {place.memory_gb:.0f} GB there")
    value = max(1, min(fits, MOST_TOKENS) // wish.longest)
    return Choice(value, f"{fits} tokens fit at once, more than {MOST_TOKENS} gain nothing")


def grouped(place: Place) -> Choice[bool]:
    """Whether short sequences are computed together: tokens are counted, not sequences."""
    if place.device == "cpu":
        return Choice(False, "a CPU gains nothing from batches, and padding costs")
    return Choice(True, "a micro-step of few tokens takes as long as one of 2,000")


def grouped_tokens(
    place: Place, model: ModelProfile, wish: Wish, checkpointing: bool
) -> Choice[int]:
    """Tokens of a micro-step of grouped sequences; a longer sequence is computed alone."""
    if place.device == "cpu":
        return Choice(0, "where a person groups them: the tokens of the longest")
    fits = (recomputed_tokens if checkpointing else kept_tokens)(place, model, wish)
    value = min(fits, MOST_TOKENS)
    return Choice(value, f"{fits} tokens fit at once, more than {MOST_TOKENS} gain nothing")


def optimizer(place: Place, model: ModelProfile, wish: Wish, tokens: int) -> Choice[Optimizer]:
    """AdamW: fused where memory allows, paged where it is tight; the same mathematics."""
    if place.device == "cpu":
        asked: Any = wish.optimizer
        return Choice(asked, "exact resume is proven with it on a CPU")
    need = estimate(place, model, wish, tokens)
    share = need / place.memory_gb
    if share > TIGHT:
        return Choice("paged_adamw_32bit", f"{share:.0%} of the memory are needed by estimate")
    return Choice("adamw_torch_fused", f"only {share:.0%} of the memory are needed by estimate")


def gpu(place: Place) -> str:
    """Name and capability for a reason."""
    return f"{place.gpu or 'GPU'} ({place.capability[0]}.{place.capability[1]})"
