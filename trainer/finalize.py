"""Publish the adapter, and make the golden answers with the very script that is delivered."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from brightrun import delivered
from brightrun.errors import TrainerError
from brightrun.jobs import Hyperparameters
from brightrun.runfolder import RunFolder
from trainer import installed

ADAPTER = "adapter"
WEIGHTS = "adapter_model.safetensors"
INFERENCE = Path(__file__).with_name("inference.py")


def publish_adapter(
    model: Any, public_name: str, folder: RunFolder, scratch: Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """Save the adapter (safetensors) and upload it, manifest last; returns the manifest.

    TrainerError when it holds a NaN or infinity: nothing is published.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(parameter.isfinite().all()):
            raise TrainerError(
                f"{name} of the trained adapter holds values that are no finite numbers",
                cause="a gradient of the last steps was NaN or infinite",
                fix="train with a smaller learning rate; the checkpoints before it are kept",
                fault="nan_loss",
            )
    local = scratch / ADAPTER
    shutil.rmtree(local, ignore_errors=True)
    model.save_pretrained(str(local), safe_serialization=True)
    return upload_adapter(local, public_name, folder, facts)


def upload_adapter(
    local: Path, public_name: str, folder: RunFolder, facts: dict[str, Any]
) -> dict[str, Any]:
    """Upload adapter weights and config of `local`; the config names the base model publicly."""
    for file in local.iterdir():
        if file.name not in (WEIGHTS, "adapter_config.json"):
            file.unlink()
    place = local / "adapter_config.json"
    config = json.loads(place.read_bytes())
    # PEFT writes the path of this machine.
    config["base_model_name_or_path"] = public_name
    place.write_text(json.dumps(config, indent=2, sort_keys=True))
    return folder.upload_folder(local, ADAPTER, facts)


def golden_answers(
    folder: RunFolder,
    base: Path,
    adapter: Path,
    values: Hyperparameters,
    dtype: str,
    threads: int,
    scratch: Path,
    environ: dict[str, str],
    wait: Callable[[subprocess.Popen[str]], tuple[str, int]],
) -> int:
    """measurements/golden.jsonl, made by inference.py in its own process; number of answers.

    What was installed for it lies beside it: a client's installation is held to that.
    """
    prompts, out = scratch / "golden.json", scratch / "golden.jsonl"
    folder.download("plan/golden.json", prompts)
    command = [
        sys.executable, str(INFERENCE),
        "--adapter", str(adapter), "--base", str(base),
        "--prompts", str(prompts), "--out", str(out),
        "--quantization", "nf4" if values.precision == "nf4" else "none",
        "--dtype", dtype, "--threads", str(threads),
        "--max-new-tokens", str(values.max_new_tokens),
    ]  # fmt: skip
    # Not from the checkout: the delivered script must not see the project.
    process = subprocess.Popen(
        command, cwd=scratch, env={**environ, "PYTHONSAFEPATH": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output, status = wait(process)
    if status != 0 or not out.is_file():
        last = "\n".join(output.strip().splitlines()[-5:])
        raise TrainerError(
            f"inference.py ended with {status}: {last}",
            cause="the delivered script cannot load what was trained",
            fix="run it by hand on the adapter folder; the adapter itself is saved",
            fault="delivery_script",
        )
    packages = installed.versions((*delivered.LIBRARIES, delivered.FOR_NF4))
    folder.write_json(delivered.PACKAGES, packages)
    folder.upload(out, delivered.GOLDEN)
    return len(folder.read_jsonl(delivered.GOLDEN))
