"""BRIGHTRUN_CHOICES: choices that a person makes for a pod. Pure; what cannot be is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brightrun.errors import ConfigurationError
from trainer import choices
from trainer.wishes import Choice, Place, Wish

NAME = "BRIGHTRUN_CHOICES"
ONE_OF: dict[str, tuple[Any, ...]] = {
    "parallel": ("ddp", "fsdp"),
    "dtype": ("float32", "bfloat16"),
    "attention": ("flash_attention_2", "sdpa", "eager"),
    "liger": (True, False),
    "optimizer": ("paged_adamw_32bit", "adamw_torch_fused"),
    "gradient_checkpointing": (True, False),
    "grouped": (True, False),
    "weights": ("stored nf4", "quantised while loading"),
}
# What decides the bits, beside what has a rule of its own (optimizer, micro-batch, grouping).
FOLLOWED = ("dtype", "attention", "liger")
AT_LEAST: dict[str, int] = {"activation_tokens": 0, "micro_batch": 1}


def checked(given: Mapping[str, Any], place: Place, wish: Wish) -> dict[str, Any]:
    """`given` if every name and value is known and possible here; else ConfigurationError."""
    names = [*ONE_OF, *AT_LEAST]
    for name, value in given.items():
        if name not in names:
            raise ConfigurationError(
                f"{NAME} names {name!r}", cause="there is no such choice",
                fix=f"choices: {', '.join(names)}", fault="bad_choice",
            )  # fmt: skip
        if not _known(name, value):
            raise ConfigurationError(
                f"{NAME} sets {name} to {value!r}", cause="there is no such value",
                fix=f"use {_allowed(name)}", fault="bad_choice",
            )  # fmt: skip
        if why := _impossible(name, value, place, wish):
            raise ConfigurationError(
                f"{NAME} sets {name} to {value!r}, which cannot be here", cause=why,
                fix=f"leave {name} out of {NAME}, or use another pod", fault="bad_choice",
            )  # fmt: skip
    return dict(given)


def followed(
    before: Mapping[str, Any], given: Mapping[str, Any], place: Place, wish: Wish
) -> dict[str, Choice[Any]]:
    """Of what a checkpoint was computed with, the choices that can be kept here and that nobody has
    set otherwise."""
    return {
        name: Choice(before[name], "the checkpoint was made with it")
        for name in FOLLOWED
        if name in before
        and name not in given
        and _known(name, before[name])
        and not _impossible(name, before[name], place, wish)
    }


def _known(name: str, value: Any) -> bool:
    if name in ONE_OF:
        return any(value is v or (isinstance(v, str) and value == v) for v in ONE_OF[name])
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value >= AT_LEAST[name]


def _allowed(name: str) -> str:
    if name in ONE_OF:
        return " or ".join(str(v).lower() for v in ONE_OF[name])
    return f"a whole number from {AT_LEAST[name]} on"


def _impossible(name: str, value: Any, place: Place, wish: Wish) -> str:
    """Why a known value cannot be used; empty if it can."""
    if name == "parallel":
        return "" if place.processes > 1 else "there is one process (see BRIGHTRUN_PROCESSES)"
    if name == "weights":  # the spec has named a copy or none: no pod takes other weights
        if wish.precision != "nf4" or (value == "stored nf4") == wish.stored_nf4:
            return ""
        return "the job's spec names an NF4 copy" if wish.stored_nf4 else "the spec names no copy"
    if name == "attention" and value == "flash_attention_2":
        own: Choice[Any] = choices.attention(place, "bfloat16")
    elif name == "liger" and value is True:
        own = choices.liger(place, wish)
    else:
        return ""
    return "" if own.value == value else own.reason
