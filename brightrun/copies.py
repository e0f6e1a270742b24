"""NF4 copies of base models on the network volume: which there are, and which a job takes.

`brightrun setup volume` writes them into `Settings.volume_file`. The choice is pure. A copy that a
kind of GPU has made holds, byte for byte, what a pod with that GPU would make of the weights each
time anew; a pod of another kind takes it only where a person says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import AwareDatetime

from brightrun import gpus
from brightrun.errors import ConfigurationError
from brightrun.frozen import Frozen
from brightrun.physics import Precision
from brightrun.specs import BaseModelRef, QuantisedCopy

WEIGHTS = "weights"  # the name of the choice in BRIGHTRUN_CHOICES
STORED, ANEW = "stored nf4", "quantised while loading"


class Copy(Frozen):
    """One copy: of which weights, where, made on which GPU, by which job."""

    model: str
    revision: str
    sha256: str
    volume: str
    gpu: str
    folder: str
    manifest_sha256: str
    gigabytes: float
    job: str
    made_at: AwareDatetime


class Made(Frozen):
    """The volume and its copies."""

    id: str
    name: str
    data_center: str
    copies: tuple[Copy, ...] = ()


class Taken(Frozen):
    """copy None: the pod quantises while loading. reason: for the events; "" when nothing was to
    be chosen."""

    quantised: QuantisedCopy | None = None
    reason: str = ""


def choose(
    model: BaseModelRef, precision: Precision, gpu: str, volume: str, copies: Iterable[Copy],
    asked: str = "",
) -> Taken:  # fmt: skip
    """The copy that a job loads. gpu: ours by name; volume: its pods' ("": none); asked: what
    BRIGHTRUN_CHOICES says of the weights.

    ConfigurationError: a stored copy is asked for and there is none.
    """
    same = [one for one in copies if one.sha256 == model.sha256 and one.volume == volume]
    fitting = [one for one in same if kind(one.gpu) == kind(gpu)]
    why = ""
    if precision != "nf4":
        why, fitting = f"precision {precision} is not NF4", []
    elif not volume:
        why, fitting = "the pods have no network volume", []
    elif asked == ANEW:
        return Taken(reason=f"weights {ANEW}: set by BRIGHTRUN_CHOICES")
    elif not same:
        why = f"volume {volume} holds no NF4 copy of these weights (`brightrun setup volume`)"
    elif not fitting:
        made = ", ".join(sorted({one.gpu for one in same}))
        why = f"the NF4 copy on volume {volume} was made on {made}, not on {gpu}"
        fitting = same if asked == STORED else []
    if not fitting:
        if asked == STORED:
            raise ConfigurationError(
                f"BRIGHTRUN_CHOICES asks for {WEIGHTS} {STORED!r}, and there are none",
                cause=why, fix=f"run `brightrun setup volume`, or leave {WEIGHTS} out",
                fault="bad_choice",
            )  # fmt: skip
        return Taken(reason=f"weights {ANEW}: {why}" if volume and precision == "nf4" else "")
    copy = max(fitting, key=lambda one: one.made_at)
    alike = kind(copy.gpu) == kind(gpu)
    said = f"made on {copy.gpu}" if alike else f"made on {copy.gpu}: set by BRIGHTRUN_CHOICES"
    return Taken(
        quantised=QuantisedCopy(folder=copy.folder, manifest_sha256=copy.manifest_sha256),
        reason=f"weights {STORED}: {copy.folder} on volume {volume}, {copy.gigabytes:.1f} GB, "
        f"{said}; a quarter of the bytes to read",
    )


def kind(gpu: str) -> str:
    """GPUs of one compute capability run the same kernels; an unknown one is its own kind."""
    known = gpus.known(gpu)
    return str(known.capability) if known else gpu


def asked_of(choices: str) -> str:
    """What BRIGHTRUN_CHOICES says of the weights; "" when nothing.

    ConfigurationError: a word that is no such choice.
    """
    try:
        found = dict(json.loads(choices or "{}")).get(WEIGHTS, "")
    except (TypeError, ValueError):
        return ""  # the pod refuses it by its own words
    if found not in ("", STORED, ANEW):
        raise ConfigurationError(
            f"BRIGHTRUN_CHOICES sets {WEIGHTS} to {found!r}",
            cause="there is no such value",
            fix=f"use {STORED!r} or {ANEW!r}",
            fault="bad_choice",
        )
    return str(found)


def read(place: Path) -> Made | None:
    """None before anything was made."""
    return Made.model_validate_json(place.read_bytes()) if place.is_file() else None


def write(place: Path, made: Made) -> None:
    """Whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_suffix(".new")
    beside.write_text(made.model_dump_json(indent=1) + "\n")
    beside.replace(place)


def with_copy(made: Made, copy: Copy) -> Made:
    """A new copy of the same weights on the same GPU replaces the old one."""
    place = (copy.sha256, copy.volume, kind(copy.gpu))
    kept = [one for one in made.copies if (one.sha256, one.volume, kind(one.gpu)) != place]
    return made.model_copy(update={"copies": (*kept, copy)})
