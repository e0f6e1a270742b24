"""Any exception of the trainer -> the class of brightrun.errors that a person can act on."""

from __future__ import annotations

from brightrun.errors import BrightRunError, OutOfMemory, StorageError, TrainerError
from brightrun.jobs import Hyperparameters
from trainer import hardware

MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def explain(error: BaseException, values: Hyperparameters | None, where: str) -> BrightRunError:
    """The error as one of ours; what is one already stays as it is."""
    if isinstance(error, BrightRunError):
        return error
    if is_out_of_memory(error):
        return out_of_memory(error, values, where)
    if isinstance(error, ModuleNotFoundError):
        return TrainerError(
            f"the pod lacks the package {error.name!r}",
            cause="the image or environment was built without the trainer's packages",
            fix='pip install -e ".[trainer]"',
        )
    if isinstance(error, OSError):
        return StorageError(
            f"{where}: {error}",
            cause="the disk is full, a folder cannot be written, or the storage is away",
            fix="free space or repair the access, then resume the job",
        )
    first = (str(error).strip() or "no message").splitlines()[0]
    return TrainerError(
        f"{where}: {type(error).__name__}: {first}",
        cause="a fault in the trainer or in a library; the traceback is in the pod's log",
        fix="read the last log segment of the attempt; the newest checkpoint is kept",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """MemoryError, CUDA out of memory, or the CPU allocator's RuntimeError."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in MEMORY_WORDS)


def out_of_memory(error: BaseException, values: Hyperparameters | None, where: str) -> OutOfMemory:
    """With the numbers, and the next smaller setting if there is one."""
    adjustment: dict[str, object] = {}
    if values is not None and not values.gradient_checkpointing:
        adjustment = {"gradient_checkpointing": True}
    elif values is not None and values.precision != "nf4":
        adjustment = {"precision": "nf4"}
    first = (str(error).strip() or "MemoryError").splitlines()[0]
    setting = ", ".join(f"{key}={value}" for key, value in adjustment.items())
    return OutOfMemory(
        f"{where}: {first} (the pod used up to {hardware.peak_memory_mb()} MB)",
        cause="model, activations of the longest conversation and optimizer do not fit",
        fix=f"retry with --set {setting}" if setting else "use a pod with more memory",
        adjustment=adjustment,
    )
