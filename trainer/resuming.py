"""Which checkpoint a new attempt goes on from: the newest that is complete, unharmed, readable."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brightrun.errors import StorageError
from brightrun.runfolder import MANIFEST, RunFolder, checkpoint
from brightrun.storagefaults import classify
from trainer import guards, hardware
from trainer.reporter import Reporter

WEIGHTS = "adapter_model.safetensors"
STATE = "trainer_state.json"
COMPUTES = "computes"
STATES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


@dataclass(frozen=True, slots=True)
class Found:
    """Where to go on: after `step`, from `local`, with the manifest of the checkpoint."""

    step: int = 0
    local: Path | None = None
    manifest: dict[str, Any] = field(default_factory=dict)


def newest(folder: RunFolder, scratch: Path, reporter: Reporter, current: dict[str, Any]) -> Found:
    """The newest complete, hash-checked and readable checkpoint; step 0 if there is none.

    A damaged one is removed with a warning and the one before it is taken.
    """
    remove_half_made(folder)
    for step in reversed(folder.checkpoints()):
        local = scratch / f"resume-{step}"
        try:
            manifest = folder.download_folder(checkpoint(step), local)
            check_readable(local)
        except (StorageError, ValueError) as error:
            if classify(error) is not None:
                raise  # the storage failed, not the checkpoint
            shutil.rmtree(local, ignore_errors=True)
            what = error.message if isinstance(error, StorageError) else f"its manifest: {error}"
            reporter.warn(
                "damaged_checkpoint",
                f"checkpoint of step {step} is not used: {what}",
            )
            folder.remove(checkpoint(step))
            continue
        for difference in differences(manifest, current):
            reporter.warn(
                "inexact_resume",
                f"the run is no longer bit-exact from step {step}: {difference}",
                "this attempt runs on another machine or with other libraries than the last",
                "for an exact run use the same pod type, image and thread count",
            )
        return Found(step, local, manifest)
    return Found()


def check_readable(local: Path) -> None:
    """StorageError for a checkpoint whose bytes are those of its manifest but cannot be loaded.

    It was damaged before it was hashed: a faulty disk or memory of the pod that wrote it.
    """
    import torch
    from safetensors.torch import load_file
    from transformers.trainer_pt_utils import safe_globals

    name = ""
    try:
        name = WEIGHTS
        broken = [
            key
            for key, value in load_file(local / name).items()
            if not bool(value.isfinite().all())
        ]
        for name in STATES:
            with safe_globals():
                torch.load(local / name, map_location="cpu", weights_only=True)
        name = STATE
        json.loads((local / name).read_bytes())
    except (MemoryError, ImportError):
        raise  # the pod's trouble: no reason to throw a checkpoint away
    except Exception as error:  # noqa: BLE001 each reader has its own for nonsense
        what = f"{name} cannot be read: {type(error).__name__}: {error}"
        raise StorageError(what, fault="damaged_checkpoint") from None
    if broken:
        what = f"{WEIGHTS} holds values that are not finite: {broken[0]}"
        raise StorageError(what, fault="damaged_checkpoint")


def differences(manifest: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """What differs between a checkpoint's facts and this pod's, in words. Pure."""
    found = []
    # Earlier versions told neither how the model computes nor of kernels: no alarm for them.
    tells = COMPUTES in manifest
    unknown = frozenset() if tells else {*hardware.KERNELS, hardware.CUDA}
    for name in ("versions", "hardware", *([COMPUTES] if tells else [])):
        before, now = manifest.get(name, {}), current.get(name, {})
        keys = sorted((set(before) | set(now)) - unknown)
        found += [
            f"{key} {before.get(key)} -> {now.get(key)}"
            for key in keys
            if before.get(key) != now.get(key)
        ]
    if manifest.get("threads") != current["threads"]:
        found.append(f"threads {manifest.get('threads')} -> {current['threads']}")
    return found


def probe_room(manifest: dict[str, Any], current: dict[str, Any]) -> float:
    """How far the probe may be off after this resume, in nats. Pure."""
    if not differences(manifest, current):
        return guards.EXACT
    before, now = (facts.get(COMPUTES, {}).get("dtype") for facts in (manifest, current))
    return guards.OTHERWISE if before == now else guards.OTHER_FORMAT


def computed(folder: RunFolder, processes: int) -> dict[str, Any]:
    """How the model computed (`loading.Base.computes`) for the newest checkpoint, when that was on
    hardware like this and in as many processes: what a new attempt should follow; else nothing."""
    for step in reversed(folder.checkpoints()):
        try:
            manifest = folder.manifest(checkpoint(step)) or {}
        except ValueError:  # damaged: `newest` finds out
            continue
        before = dict(manifest.get("hardware", {}))
        same = str(before.pop("processes", "")).partition(",")[0] == str(processes)
        return dict(manifest.get(COMPUTES, {})) if same and before == hardware.describe() else {}
    return {}


def remove_half_made(folder: RunFolder) -> None:
    """Delete what killed attempts left without a manifest."""
    for name in folder.names("checkpoints"):
        if not folder.exists(f"checkpoints/{name}/{MANIFEST}"):
            folder.remove(f"checkpoints/{name}")
