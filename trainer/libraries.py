"""How the libraries behave in every run: quietly, and the same each time."""

from __future__ import annotations

import warnings

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
