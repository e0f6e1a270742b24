"""Which GPUs are in this machine, as its driver lists them: no library, no process."""

from __future__ import annotations

from pathlib import Path

from brightrun import gpus, prices
from brightrun.errors import UsageError

DRIVER = Path("/proc/driver/nvidia/gpus")


def gpus_here(driver: Path = DRIVER) -> tuple[str, ...]:
    """Our names of them, as prices have them; () without a driver."""
    told = (place.read_text() for place in sorted(driver.glob("*/information")))
    lines = [line for text in told for line in text.splitlines() if line.startswith("Model:")]
    found = (gpus.known(line.partition(":")[2]) for line in lines)
    return tuple(gpu.name for gpu in found if gpu is not None)


def has(gpu: str, driver: Path = DRIVER) -> bool:
    """Whether a job on this machine can have that GPU; "" and cpu are the machine itself."""
    name = prices.gpu_name(gpu, "local")
    return name == prices.CPU or name in gpus_here(driver)


def require(provider: str, gpu: str, driver: Path = DRIVER) -> None:
    """UsageError: a local job is to run on a GPU that is not in this machine."""
    if provider == "local" and not has(gpu, driver):
        here = ", ".join(gpus_here(driver)) or "no GPU that we know"
        raise UsageError(
            f"there is no {prices.gpu_name(gpu, provider)} in this machine (it has {here})",
            fix="rent one with --provider runpod, or leave out --gpu",
        )
