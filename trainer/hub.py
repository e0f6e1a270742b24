"""Fetch a base model from the hub: in parallel, resumed where it stopped, onto a persistent volume.

huggingface_hub keeps what it has of every file and goes on there; hf-xet fetches a file's pieces
side by side. BRIGHTRUN_VOLUME names the volume that outlives pods; without it the library's own
cache is used. Files that the hub knows by sha256 are checked after the download.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from brightrun.errors import BrightRunError, ConfigurationError, StorageError
from brightrun.runfolder import sha256_file

FILES = ("*.json", "*.jinja", "model*.safetensors")
WORKERS = 16
SHA256 = re.compile(r"[0-9a-f]{64}")
VOLUME = "BRIGHTRUN_VOLUME"


def cache() -> Path | None:
    """Where downloads lie; None: the library's own cache."""
    volume = os.environ.get(VOLUME, "")
    return Path(volume) / "hub" if volume else None


def fetch(name: str, token: str | None = None) -> Path:
    """Folder of `org/name[@revision]`, fetched as far as it is not there; its name is the commit.

    token: of a hub account; None: what the library finds (HF_TOKEN, or a login).

    ConfigurationError: gated, missing or not reachable; StorageError: damaged, or no space.
    """
    os.environ.setdefault("HF_XET_HIGH_PERFORMANCE", "1")
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        place = Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=list(FILES),
                cache_dir=cache(),
                max_workers=WORKERS,
                token=token,
            )
        )
    except OSError as error:  # every error of the hub is one
        raise explain(name, error) from error
    check(name, place)
    return place


def check(name: str, place: Path) -> None:
    """StorageError when a downloaded weight file is not the one that the hub has."""
    for file in sorted(place.glob("*.safetensors")):
        stored = file.resolve()
        # The cache names large files by the sha256 that the hub gave for them.
        if SHA256.fullmatch(stored.name) and (found := sha256_file(stored)) != stored.name:
            raise StorageError(
                f"{file.name} of base model {name!r} has sha256 {found[:12]}..., the hub's has "
                f"{stored.name[:12]}...",
                fix=f"delete {stored} and prepare again: the other files are kept",
                fault="download_damaged",
            )


def explain(name: str, error: OSError) -> BrightRunError:
    """What a person can do about a failed download."""
    from huggingface_hub import constants, errors

    cause: BaseException | None = error
    while isinstance(cause, errors.LocalEntryNotFoundError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, errors.GatedRepoError):
        return ConfigurationError(
            f"base model {name!r} is gated: the hub does not give it to this account",
            cause="its licence was not accepted, or no token (HF_TOKEN) was given",
            fix="accept the licence on the model's page, set HF_TOKEN, and prepare again",
            fault="model_gated",
        )
    if isinstance(cause, errors.RevisionNotFoundError):
        return ConfigurationError(
            f"base model {name!r}: the hub has no such revision",
            fix="use a commit of the model's history, or leave @revision out",
            fault="model_missing",
        )
    if isinstance(cause, errors.RepositoryNotFoundError):
        return ConfigurationError(
            f"base model {name!r} is not on the hub, or it is private",
            cause="a typing error, a renamed model, or a private one without a token",
            fix="check the name; for a private model set HF_TOKEN",
            fault="model_missing",
        )
    if cause is not None and getattr(cause, "errno", None) == 28:
        return StorageError(
            f"no space is left for base model {name!r} in {cache() or constants.HF_HUB_CACHE}",
            fix=f"use a larger volume ({VOLUME}), then prepare again: what is there is kept",
            fault="disk_full",
        )
    offline = isinstance(cause, errors.OfflineModeIsEnabled)
    why = (
        "HF_HUB_OFFLINE is set" if offline else f"the hub was not reached ({type(cause).__name__})"
    )
    return ConfigurationError(
        f"base model {name!r} is neither in the cache {cache() or constants.HF_HUB_CACHE} nor can "
        f"it be fetched: {why}",
        cause="no network, or it is switched off by HF_HUB_OFFLINE",
        fix=f"where there is a network: `HF_HUB_OFFLINE=0 python -m trainer prepare {name}`; or "
        "copy that machine's cache here",
        fault="model_missing",
    )
