"""The ranks of a LoRA adapter, read from its config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

UNSAID = 8  # PEFT's own, where a config names none


def ranks_of(config: Mapping[str, Any]) -> list[int]:
    """Those of adapter_config.json: the usual one first, then those of single layers."""
    return [int(config.get("r") or UNSAID), *map(int, (config.get("rank_pattern") or {}).values())]


def for_vllm(ranks: Iterable[int]) -> int:
    """The largest, as vLLM takes it: a power of two, 8 or more."""
    return max(8, 1 << (max(ranks) - 1).bit_length())
