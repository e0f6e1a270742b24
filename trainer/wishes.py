"""What a pod has, what a job wishes for, and what a choice between them looks like. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from brightrun.physics import Precision
from trainer.room import GPU_ACTIVATION_BYTES

Parallel = Literal["single", "ddp", "fsdp"]
Dtype = Literal["float32", "bfloat16"]
Attention = Literal["flash_attention_2", "sdpa", "eager"]
Optimizer = Literal["paged_adamw_32bit", "adamw_torch_fused"]
Weights = Literal["stored nf4", "quantised while loading", "as stored"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """A decision with the reason that goes into the events."""

    value: T
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """What is there. memory_gb: free memory of one GPU, or of the machine; capability: CUDA's;
    processes: of the pod, each with a GPU of its own; shards: processes that hold the base model's
    layers together (1: each holds all); packages: of PACKAGES those that can be imported;
    host_gb: free memory of the host, None where nobody knows; element_bytes: of an activation, see
    `room.each` (`choose` settles it)."""

    device: Literal["cuda", "cpu"]
    memory_gb: float
    gpu: str = ""
    capability: tuple[int, int] = (0, 0)
    processes: int = 1
    shards: int = 1
    native_bf16: bool = False
    packages: frozenset[str] = frozenset()
    host_gb: float | None = None
    element_bytes: float = GPU_ACTIVATION_BYTES


PACKAGES = ("flash_attn", "liger_kernel")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the spec asks for. longest: tokens of the longest sequence; family: the model's
    `model_type`; stored_nf4: the base model's files already hold NF4 weights; packing: several
    sequences in a row, None = where it costs nothing; max_length: tokens of a row on a CPU."""

    precision: Precision
    lora_r: int
    longest: int
    gradient_checkpointing: bool
    optimizer: str
    family: str
    stored_nf4: bool = False
    packing: bool | None = None
    max_length: int = 0
