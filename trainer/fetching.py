"""A pod fetches the base model that its volume lacks, once: the pinned revision, by its hash.

Only where BRIGHTRUN_VOLUME names a volume that outlives the pod: on a person's own machine a job
fetches nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from brightrun import basemodels
from brightrun.errors import BrightRunError, ConfigurationError, TrainerError, from_dict
from brightrun.jobs import BaseModelRef
from trainer import quantise
from trainer.hub import VOLUME

# The pod itself is offline: only this child may reach the hub.
ONLINE = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
# (process) -> its output and its exit status; ends it when the pod is asked to stop.
Wait = Callable[[subprocess.Popen[str]], tuple[str, int]]


def prepared(model: BaseModelRef, models: Path, wait: Wait) -> Path:
    """Folder of the job's base model, fetched first where that is allowed; of its NF4 copy, where
    the spec names one.

    ConfigurationError: missing, gated, or not the one that the job was planned with; StorageError:
    damaged on the way, or no space.
    """
    if model.quantised is not None:
        return quantise.checked(model, model.quantised, models)
    try:
        return basemodels.prepared_folder(model, models)
    except ConfigurationError as error:
        if error.fault != "model_missing" or not may_be_fetched(model):
            raise
    print(f"base model {model.name} is not in {models}: it is fetched", flush=True)
    command = [sys.executable, "-m", "trainer", "prepare", model.name, "--models", str(models),
               "--revision", model.revision]  # fmt: skip
    child = subprocess.Popen(
        command, env={**os.environ, **ONLINE}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    output, status = wait(child)
    if status != 0:
        raise failure(output)
    return basemodels.prepared_folder(model, models)


def may_be_fetched(model: BaseModelRef) -> bool:
    """Whether it comes from the hub, is pinned, and has a place that outlives the pod."""
    from_hub = model.name not in basemodels.ALIASES and basemodels.HUB_ID.fullmatch(model.name)
    return bool(from_hub and model.revision and os.environ.get(VOLUME))


def failure(output: str) -> BrightRunError:
    """The error that the child told in its last line."""
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "no word")
    try:
        return from_dict(json.loads(last))
    except (TypeError, ValueError):
        return TrainerError(f"fetching the base model failed: {last[:400]}", fault="trainer")
