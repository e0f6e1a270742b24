"""Any exception of the trainer -> the class of brightrun.errors that a person can act on."""

from __future__ import annotations

import re

from brightrun.errors import (
    FAMILIES,
    BrightRunError,
    OutOfMemory,
    StorageError,
    TrainerError,
    chain,
)
from brightrun.faults import FAULTS
from brightrun.jobs import Hyperparameters
from brightrun.storagefaults import GONE, classify
from trainer import hardware

MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cublas_status_alloc_failed",
)
# The first that is found in the text names the fault: the special before the general.
GPU_WORDS: tuple[tuple[str, str], ...] = (
    (r"uncorrectable ecc|\becc error|xid\D{0,20}\b(48|63|64|94|95)\b", "gpu_ecc"),
    (r"gpu is lost|fallen off the bus|xid\D{0,20}\b79\b|no cuda gpus are available", "gpu_lost"),
    (r"unable to determine the device handle|unspecified launch failure", "gpu_lost"),
    (r"\bxid\b", "gpu_xid"),
    (r"\bnccl\b|processgroupnccl|collective operation timeout", "nccl"),
    (r"driver version is insufficient|no kernel image|driver is too old", "cuda_driver"),
    (r"cuda error|device-side assert|cublas_status|cudnn_status|cuda kernel", "cuda"),
)
# Of torch's two refusals: a kernel that knows no fixed order, and a cuBLAS without a workspace.
ORDER_WORDS = (
    "does not have a deterministic implementation",
    "deterministic behavior was enabled",
)
ADAPTER_WORDS = ("error(s) in loading state_dict", "size mismatch for", "adapter")


def explain(error: BaseException, values: Hyperparameters | None, where: str) -> BrightRunError:
    """The error as one of ours; what is one already stays as it is."""
    if isinstance(error, BrightRunError):
        return error
    if is_out_of_memory(error):
        used = f"the pod used up to {hardware.peak_memory_mb()} MB"
        happened = f"{where}: {first_line(error)} ({used})"
        return out_of_memory(happened, values, untried=where == "training")
    if isinstance(error, ModuleNotFoundError):
        return TrainerError(f"the pod lacks the package {error.name!r}", fault="package_missing")
    if name := gpu_fault(error):
        return FAMILIES[FAULTS[name].family](f"{where}: {first_line(error)}", fault=name)
    if isinstance(error, OSError):
        return of_os_error(error, where)
    if isinstance(error, (KeyError, RuntimeError, ValueError)) and is_adapter_mismatch(error):
        return TrainerError(f"{where}: {mismatch(error)}", fault="adapter_incompatible")
    return TrainerError(f"{where}: {type(error).__name__}: {first_line(error)}", fault="trainer")


def of_os_error(error: OSError, where: str) -> StorageError:
    """A lasting trouble by its name; a missing file may be any file, not the run folder's."""
    found = classify(error)
    if found is not None and found.lasting and found.name != GONE:
        return found.error(where)
    return StorageError(f"{where}: {error}", fault="storage_file")


def first_line(error: BaseException) -> str:
    """What a person reads of a foreign exception."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:400]


def gpu_fault(error: BaseException) -> str:
    """Name of the fault in brightrun.faults when a GPU or its links failed, else ''."""
    text = "\n".join(str(part) for part in chain(error)).lower()
    return next((name for pattern, name in GPU_WORDS if re.search(pattern, text)), "")


def is_adapter_mismatch(error: BaseException) -> bool:
    """An adapter's tensors that do not fit the model they are loaded into."""
    text = str(error).lower()
    return "lora" in text and any(word in text for word in ADAPTER_WORDS)


def mismatch(error: BaseException) -> str:
    """The first tensor that does not fit, and how many there are; torch's own first line has no
    value."""
    lines = [line.strip() for line in str(error).splitlines() if "lora" in line.lower()]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return f"{lines[0][:400]}{more}"


def is_out_of_memory(error: BaseException) -> bool:
    """MemoryError, CUDA out of memory, or the CPU allocator's RuntimeError."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in MEMORY_WORDS)


def has_no_fixed_order(error: BaseException) -> bool:
    """Torch refuses a kernel that adds in any order (`torch.use_deterministic_algorithms`)."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in ORDER_WORDS)


def out_of_memory(
    happened: str,
    values: Hyperparameters | None,
    cause: str = "",
    otherwise: str = "",
    *,
    untried: bool = False,
) -> OutOfMemory:
    """With the next smaller setting; where there is none, `otherwise` may be done too.

    untried: the pod did not come to try smaller pieces (outside its steps).
    """
    adjustment: dict[str, object] = {}
    if values is not None and not values.gradient_checkpointing:
        adjustment = {"gradient_checkpointing": True}
    elif untried:
        return OutOfMemory(
            happened,
            fix="another pod tries it with micro-batch 1, once; then use one with more memory",
            adjustment={"micro_batch": 1},
            fault="out_of_memory",
        )
    elif values is not None and values.precision != "nf4":
        adjustment = {"precision": "nf4"}
    setting = ", ".join(f"{key}={value}" for key, value in adjustment.items())
    return OutOfMemory(
        happened,
        cause=cause,
        fix=f"retry with --set {setting}" if setting else f"use a pod with more memory{otherwise}",
        adjustment=adjustment,
        fault="out_of_memory",
    )
