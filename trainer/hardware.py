"""What this pod computes with, and which number format follows from it. No torch at import."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

Dtype = Literal["float32", "bfloat16"]
LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "tokenizers")
# CPU features that multiply bf16 in hardware (x86 and ARM names in /proc/cpuinfo).
BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision with the reason that goes into the events."""

    value: Dtype
    reason: str


def compute_dtype(
    precision: Literal["nf4", "bf16", "fp32"], device: Literal["cuda", "cpu"], native_bf16: bool
) -> Choice:
    """Number format of the matrix products. Pure."""
    if precision == "fp32":
        return Choice("float32", "precision fp32 was asked for")
    if device == "cuda":
        return Choice("bfloat16", "GPU with bf16 tensor cores")
    if native_bf16:
        return Choice("bfloat16", "this CPU multiplies bf16 in hardware")
    return Choice(
        "float32", "this CPU emulates bf16 (5 times slower): the same weights computed in fp32"
    )


@cache
def cpu_features() -> frozenset[str]:
    """Feature flags of the first CPU; empty where /proc/cpuinfo does not exist."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        if line.lower().startswith(("flags", "features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def native_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware."""
    return bool(BF16_FEATURES & cpu_features())


def cpu_name() -> str:
    """Model name of the CPU, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe() -> dict[str, str]:
    """What a bit-exact resume needs to be equal: device, its kind, CPU features that matter."""
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    capability = torch.backends.cpu.get_cpu_capability()
    return {"device": device, "cpu": cpu_name(), "instructions": str(capability)}


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers."""
    return {name: metadata.version(name) for name in LIBRARIES}


def memory_mb() -> int:
    """Resident memory of this process in MB (10^6 bytes)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_memory_mb()
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def peak_memory_mb() -> int:
    """Highest resident memory of this process so far in MB."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 1_000_000


def available_memory_mb() -> int:
    """Memory that can still be had on this machine in MB."""
    import psutil

    return int(psutil.virtual_memory().available) // 1_000_000


def gpu_percent() -> float | None:
    """Utilisation of the first GPU (0-100), None without one. Only after torch was imported."""
    import sys

    torch: Any = sys.modules.get("torch")
    # getattr: another thread may be in the middle of importing torch.
    if torch is None or not getattr(torch, "cuda", None) or not torch.cuda.is_initialized():
        return None
    try:
        return float(torch.cuda.utilization())
    except (ModuleNotFoundError, RuntimeError):
        return None
