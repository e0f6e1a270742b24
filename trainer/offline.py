"""How libraries start: offline, no telemetry, no compiler, always the same numbers. Must be set
before they load."""

from __future__ import annotations

import os

SWITCHES: dict[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "WANDB_DISABLED": "true",
    "WANDB_MODE": "disabled",
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
    "COMET_MODE": "DISABLED",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Nothing here is compiled: importing the compiler, as bitsandbytes does, is a tenth of a start.
    "TORCHDYNAMO_DISABLE": "1",
    # Needed by torch.use_deterministic_algorithms on CUDA.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # Its backward pass adds in any order otherwise: no resume would be bit-exact on a GPU.
    "FLASH_ATTENTION_DETERMINISTIC": "1",
}


def apply() -> None:
    """Set every switch in this process; child processes inherit them."""
    os.environ.update(SWITCHES)
