"""How the libraries behave in every run: quietly, and the same each time."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch
from transformers.utils.logging import disable_progress_bar


def quiet() -> None:
    """Keep the log readable: no progress bars, no deprecations that only libraries can mend."""
    disable_progress_bar()
    for module in ("transformers", "peft", "trl", "bitsandbytes"):
        for category in (FutureWarning, UserWarning):
            warnings.filterwarnings("ignore", category=category, module=module)


def deterministic(threads: int) -> None:
    """The same numbers in every run on the same machine."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling every new tensor would only cost time: no kernel here reads uninitialised memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def in_fixed_order(on: bool) -> Iterator[None]:
    """While gradients are computed: attention kernels on a GPU add in any order where `warn_only`
    is set (seen on an H100: the gradient of one step differed from run to run).

    RuntimeError (`failures.has_no_fixed_order`) when a kernel knows no order at all.
    """
    if not on:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
