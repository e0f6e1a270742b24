"""What this pod computes with. No torch at import."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
from dataclasses import replace
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from brightrun import ownmemory, speed
from trainer.wishes import PACKAGES, Place

if TYPE_CHECKING:
    from trainer.distributed import Group

# Of the trainer's own arithmetic: raised by every change after which the same run has other bits.
# 2: strict order of adding on a GPU, the head's gradient by index, sequences grouped by tokens.
# 3: dropout masks by sequence.
NUMERICS = 3
LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "tokenizers")
# Kernels of a GPU: told where they are installed.
KERNELS = ("liger-kernel", "flash-attn", "triton")
CUDA = "CUDA"


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
    """Versions of what decides the numbers: the libraries, and the trainer's own arithmetic."""
    import torch

    found = {name: metadata.version(name) for name in LIBRARIES}
    for name in KERNELS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    if torch.version.cuda:
        found[CUDA] = torch.version.cuda
    return {**found, "trainer's numerics": str(NUMERICS)}


def cpu_seconds() -> float:
    """What this process, and those that it started and that have ended, took of the processors."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(seen.ru_utime + seen.ru_stime for seen in used)


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
    """Memory that can still be had here in MB: in a container, what its limit leaves."""
    return ownmemory.available_bytes() // 1_000_000


def place() -> Place:
    """This machine as `trainer.choices` wants to know it; memory is what is free now."""
    import torch

    packages = frozenset(name for name in PACKAGES if util.find_spec(name) is not None)
    if not torch.cuda.is_available():
        free = available_memory_mb() / 1000
        return Place("cpu", free, native_bf16=speed.native_bf16(), packages=packages, host_gb=free)
    device = torch.cuda.current_device()
    host = available_memory_mb() / 1000
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return Place(
        "cuda", free_bytes / 1e9, torch.cuda.get_device_name(device),
        torch.cuda.get_device_capability(device), native_bf16=True, packages=packages,
        host_gb=host,
    )  # fmt: skip


def shared(here: Place, group: Group) -> Place:
    """What all processes of a pod choose by: what fits where least is free."""
    memory, host = group.least(here.memory_gb), group.least(here.host_gb or 0.0)
    return replace(here, memory_gb=memory, host_gb=host, processes=group.size)
