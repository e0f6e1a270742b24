"""Adapters that are measured beside the job's own: controls, earlier versions, other people's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brightrun.errors import StorageError, TrainerError
from brightrun.modelnames import MODELS, all_models
from brightrun.runfolder import RunFolder
from trainer import failures
from trainer.finalize import WEIGHTS

ADAPTERS = "adapters"


def load_others(model: Any, folder: RunFolder, scratch: Path) -> tuple[str, ...]:
    """The plan's models; adapters/{name} of each further one is loaded onto the same base model.

    StorageError when one is not the adapter that was planned.
    """
    plan = folder.read_json("plan/plan.json")
    names = all_models(plan.get("models", MODELS)[2:])
    for name in names[2:]:
        local = scratch / f"adapter-{name}"
        manifest = folder.download_folder(f"{ADAPTERS}/{name}", local)
        found = manifest["files"][WEIGHTS]["sha256"]
        if found != plan["adapters"][name]:
            raise StorageError(
                f"adapters/{name} has sha256 {found[:12]}..., "
                f"{plan['adapters'][name][:12]}... was planned",
                cause="the adapter was changed after the plan was hashed",
                fix="start the evaluation again",
                fault="data_changed",
            )
        try:
            model.load_adapter(str(local), name)
        except (ValueError, RuntimeError) as error:
            raise TrainerError(
                f"the adapter {name} does not fit the base model: {failures.first_line(error)}",
                cause="it was trained on another base model",
                fix="compare adapters of one base model only",
                fault="adapter_incompatible",
            ) from None
    return names
