"""Load the frozen base model: safetensors only, no code from the model, NF4 traps closed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.integrations.liger import apply_liger_kernel

from brightrun import basemodels
from brightrun.errors import ConfigurationError
from brightrun.jobs import Hyperparameters
from brightrun.physics import ModelProfile, Precision
from trainer import cpu, failures, hardware, sharding, weights
from trainer.choices import Choices, choose, spread
from trainer.overrides import FOLLOWED, checked, followed
from trainer.room import check_room
from trainer.wishes import Place, Wish

CPU_MULTIPLE = 64
DENSE, ONCE, AT_EVERY_USE = "4-bit weights", "unpacked once", "unpacked at every use"


@dataclass(frozen=True, slots=True)
class Base:
    """The loaded base model with what was decided on the way. gathers: of its layers, where they
    are spread over the processes."""

    model: PreTrainedModel
    dtype: torch.dtype
    reasons: tuple[str, ...]
    choices: Choices
    profile: ModelProfile
    gathers: sharding.Gathers | None = None

    def computes(self) -> dict[str, Any]:
        """What decides the bits, beside hardware and versions: for a checkpoint's facts."""
        known = {name: getattr(self.choices, name).value for name in FOLLOWED}
        return {**known, DENSE: dense(self.model)}


def decide(
    place: Place,
    folder: Path,
    profile: Mapping[str, Any],
    values: Hyperparameters,
    longest: int,
    optimizer: str,
    overrides: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> Choices:
    """All choices for the prepared model in `folder` on such a machine; `longest` in tokens;
    before: how a checkpoint's model computed, which is followed where that can be."""
    config = json.loads((folder / "config.json").read_bytes())
    row = min(values.max_length, config.get("max_position_embeddings") or values.max_length)
    wish = Wish(
        values.precision, values.lora_r, longest, values.gradient_checkpointing, optimizer,
        str(config.get("model_type", "")), weights.stored_nf4(config), values.packing, row,
    )  # fmt: skip
    model = ModelProfile.of_prepared(profile)
    kept = followed(before or {}, overrides, place, wish)
    made = choose(place, model, wish, checked(overrides, place, wish), kept)
    check_room(spread(place, made.parallel.value), model, wish)
    return made


def load_base(
    folder: Path, precision: Precision, choices: Choices | None = None, before: str = ""
) -> Base:
    """The prepared model in `folder`, frozen, in eval mode, on the GPU when there is one.

    Without `choices`: what is chosen for a single token. With fsdp the process holds its share of
    the layers, and the group of `choices.processes` must have met. before: `dense` of the model
    that a checkpoint was made with.
    """
    if choices is None:
        values = Hyperparameters(precision=precision)
        choices = decide(hardware.place(), folder, basemodels.profile(folder), values, 1, "", {})
    spread_out = choices.parallel.value == "fsdp"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype: torch.dtype = getattr(torch, choices.dtype.value)
    stored = weights.folder_stores_nf4(folder)
    weights.check_precision(stored, precision)
    loading: dict[str, Any] = {
        "dtype": dtype, "use_safetensors": True, "trust_remote_code": False,
        "attn_implementation": choices.attention.value,
    }  # fmt: skip
    if precision == "nf4" and not stored:
        loading["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    if device == "cuda":
        # A GPU gets a spread model layer by layer.
        loading["device_map"] = {"": "cpu" if spread_out else torch.cuda.current_device()}
    elif precision == "bf16" and dtype != torch.bfloat16:
        loading["dtype"] = torch.bfloat16
    try:
        model = AutoModelForCausalLM.from_pretrained(str(folder), **loading)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigurationError(
            f"the base model in {folder.name} cannot be loaded: {failures.first_line(error)}",
            cause="its files are incomplete or of a kind that this transformers does not know",
            fix="prepare the model again: python -m trainer prepare NAME",
            fault="model_unusable",
        ) from error
    if precision == "bf16":
        model = model.to(dtype)
    reasons = choices.reasons()
    if precision == "nf4":
        if stored:
            compute_in(model, dtype)
        reasons += close_traps(model, device, not spread_out, before)
    if choices.liger.value:
        # The loss is ours: only the layers are replaced.
        apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})
    model.requires_grad_(False)
    model.eval()
    gathers = None
    if spread_out:
        gathers = sharding.shard(model, torch.device(device))
        held, whole = sharding.held_bytes(model)
        reasons.append(f"base model: {held / 1e6:.1f} of {whole / 1e6:.1f} MB are held here")
    profile = ModelProfile.of_prepared(basemodels.profile(folder))
    return Base(model, dtype, tuple(reasons), choices, profile, gathers)


def compute_in(model: nn.Module, dtype: torch.dtype) -> None:
    """Products of stored NF4 weights in `dtype`, whatever their files were made for.

    ConfigurationError when there are none, or not double quantised NF4.
    """
    layers = quantised_layers(model)
    for name, layer in layers.items():
        state = getattr(layer.weight, "quant_state", None)
        if state is None or state.quant_type != "nf4" or not state.nested:
            found = f"{state.quant_type}, double quantised: {state.nested}" if state else "unpacked"
            raise ConfigurationError(
                f"{name} is stored as {found}",
                cause="the files are not what the model's config.json says",
                fix="use another copy of the base model",
                fault="model_unusable",
            )
        layer.compute_dtype, layer.compute_type_is_set = dtype, True
        state.dtype = dtype


def quantised_layers(model: nn.Module) -> dict[str, Any]:
    """All 4-bit linear layers by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, bnb.nn.Linear4bit)}


def close_traps(model: nn.Module, device: str, whole: bool = True, before: str = "") -> list[str]:
    """Make 4-bit layers safe to train after an eval forward; on CPU keep dense copies too, if the
    model is `whole` and they fit. before: as `load_base` says.

    ConfigurationError for dimensions that the CPU kernels cannot do.
    """
    layers = quantised_layers(model)
    for layer in layers.values():
        # bitsandbytes repacks the weights in an eval forward on CPUs with avx512_bf16: every
        # later gradient would be wrong while the loss looks normal.
        layer.support_avx512bf16_for_cpu = False
    if device != "cpu":
        return []
    for name, layer in layers.items():
        if layer.in_features % CPU_MULTIPLE or layer.out_features % CPU_MULTIPLE:
            raise ConfigurationError(
                f"{name} is {layer.in_features} x {layer.out_features}",
                cause=f"4-bit layers on a CPU need dimensions that are multiples of {CPU_MULTIPLE}",
                fix="use --set precision=bf16",
                fault="model_dimensions",
            )
    if not layers or not whole:
        return []
    size, free = dense_megabytes(layers), hardware.available_memory_mb()
    # Fused LoRA layers need them, which round in another way: a resume keeps to what was.
    if before == AT_EVERY_USE:
        return ["4-bit weights are unpacked at every use: the checkpoint was made so"]
    if size > (free if before == ONCE else free // 4):
        return [f"4-bit weights are unpacked at every use: dense copies need {size} MB"]
    for layer in layers.values():
        cpu.keep_dense(layer)
    return [f"4-bit weights unpacked once: {size} MB for the same numbers, faster on a CPU"]


def dense(model: nn.Module) -> str:
    """How the 4-bit weights are unpacked; "" where there are none."""
    layers = quantised_layers(model).values()
    kept = any(getattr(layer, "dense_weight", None) is not None for layer in layers)
    return (ONCE if kept else AT_EVERY_USE) if layers else ""


def dense_megabytes(layers: dict[str, Any]) -> int:
    """Size of the unpacked weights in MB."""
    sizes = (
        int(layer.in_features) * int(layer.out_features) * int(layer.compute_dtype.itemsize)
        for layer in layers.values()
    )
    return sum(sizes) // 1_000_000


def parts(model: Any) -> tuple[nn.Module, nn.Module]:
    """(backbone, LM head) of a causal model, under a LoRA adapter or not."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.get_decoder(), base.get_output_embeddings()


@contextlib.contextmanager
def computing(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """Adapter products in the base's number format: autocast when that is bf16."""
    device = next(model.parameters()).device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        yield
