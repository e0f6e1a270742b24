"""GPUs: dense bf16 peak, memory, bandwidth, capability. The one place for these figures.

Peaks are those of the tensor cores with fp32 accumulation and without sparsity; where a data sheet
prints the figure with sparsity it is halved here. Sources: NVIDIA's data sheets of each product;
RTX 3090, 4090 and 6000 Ada: the GA102 and Ada white papers. None was measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """tflops: dense bf16 peak; capability: CUDA compute capability; memory in GB (10^9)."""

    name: str
    tflops: float
    memory_gb: float
    terabytes_per_s: float
    capability: tuple[int, int]


H100_PCIE = Gpu("H100 80GB PCIe", 756, 80, 2.0, (9, 0))
H100_SXM = Gpu("H100 80GB SXM", 989, 80, 3.35, (9, 0))
# First match wins; every word must be in the name that NVML and torch give.
KNOWN: tuple[tuple[tuple[str, ...], Gpu], ...] = (
    (("b200",), Gpu("B200", 2250, 180, 8.0, (10, 0))),
    (("h200",), Gpu("H200 SXM", 989, 141, 4.8, (9, 0))),
    (("h100", "pcie"), H100_PCIE),
    (("h100", "nvl"), Gpu("H100 NVL", 835, 94, 3.9, (9, 0))),
    (("h100", "hbm3"), H100_SXM),
    (("h100", "sxm"), H100_SXM),
    (("a100", "40gb"), Gpu("A100 40GB", 312, 40, 1.555, (8, 0))),
    (("a100",), Gpu("A100 80GB", 312, 80, 1.935, (8, 0))),
    (("l40s",), Gpu("L40S", 362, 48, 0.864, (8, 9))),
    (("l4",), Gpu("L4", 121, 24, 0.3, (8, 9))),
    (("a10",), Gpu("A10", 125, 24, 0.6, (8, 6))),
    (("a40",), Gpu("A40", 149.7, 48, 0.696, (8, 6))),
    (("a6000",), Gpu("RTX A6000", 154.8, 48, 0.768, (8, 6))),
    (("6000", "ada"), Gpu("RTX 6000 Ada", 364, 48, 0.96, (8, 9))),
    (("4090",), Gpu("RTX 4090", 165.2, 24, 1.008, (8, 9))),
    (("3090",), Gpu("RTX 3090", 71, 24, 0.936, (8, 6))),
)


def known(device: str) -> Gpu | None:
    """The GPU behind a device's name ("NVIDIA H100 80GB HBM3"); None when it is not listed."""
    words = "".join(c if c.isalnum() else " " for c in device.lower()).split()
    return next((gpu for keys, gpu in KNOWN if all(key in words for key in keys)), None)


def mfu(flops: float, seconds: float, device: str, count: int = 1) -> float | None:
    """Model FLOPs utilisation: share of the peak of `count` GPUs (Chowdhery et al. 2022, B).

    None for a device without a listed peak: no figure is better than a made-up one.
    """
    gpu = known(device)
    if gpu is None or seconds <= 0:
        return None
    return flops / seconds / (gpu.tflops * 1e12 * count)
