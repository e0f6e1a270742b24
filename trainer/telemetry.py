"""What the GPU is doing, by NVML (package nvidia-ml-py). Absent library or GPU: None, no error.

NVML reads the driver: it needs no CUDA context, starts none and waits for no kernel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any


@cache
def _nvml() -> Any:
    """The initialised library, or None."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def gpu_percent(nvml: Any = None, environ: Mapping[str, str] = os.environ) -> float | None:
    """Share of the last sampling period with a kernel running (0-100), of the first GPU that this
    process may use; None without one. `nvml`: the library, for tests."""
    library = nvml or _nvml()
    if library is None:
        return None
    try:
        handle = _handle(library, first_visible(environ))
        return None if handle is None else float(library.nvmlDeviceGetUtilizationRates(handle).gpu)
    except library.NVMLError:
        return None


def first_visible(environ: Mapping[str, str]) -> str:
    """First entry of CUDA_VISIBLE_DEVICES: an index or a UUID; "" = no GPU may be used. Pure."""
    return environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()


def _handle(library: Any, device: str) -> Any:
    if not device or device == "-1":
        return None
    if device.isdigit():
        return library.nvmlDeviceGetHandleByIndex(int(device))
    return library.nvmlDeviceGetHandleByUUID(device)
