"""Base models whose files already hold 4-bit weights: recognised, checked, counted. Pure.

bitsandbytes stores a 4-bit matrix as `NAME.weight`, its bytes in whatever type `quant_storage`
says, beside `NAME.weight.absmax`, `.quant_map`, `.nested_absmax`, `.nested_quant_map` and
`.quant_state.bitsandbytes__nf4`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brightrun.errors import ConfigurationError

BESIDE = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")
STATE = ".quant_state.bitsandbytes__"
PER_BYTE = 2
BYTES = {"U8": 1, "I8": 1, "BF16": 2, "F16": 2, "F32": 4}


def stored_nf4(config: Mapping[str, Any]) -> bool:
    """Whether a model's config.json announces NF4 weights with double quantisation.

    ConfigurationError for any other quantisation: the job's numbers would not be those of its spec.
    """
    found = config.get("quantization_config")
    if not found:
        return False
    method = str(found.get("quant_method", "bitsandbytes"))
    kind = str(found.get("bnb_4bit_quant_type", "fp4"))
    if method != "bitsandbytes" or not found.get("load_in_4bit"):
        bits = "8 bit" if found.get("load_in_8bit") else method
        raise _unusable(f"its weights are quantised another way ({bits})")
    if kind != "nf4":
        raise _unusable(f"its 4-bit weights are {kind}, not nf4")
    if not found.get("bnb_4bit_use_double_quant"):
        raise _unusable("its NF4 weights are stored without double quantisation")
    return True


def folder_stores_nf4(folder: Path) -> bool:
    """`stored_nf4` of a model folder."""
    return stored_nf4(json.loads((folder / "config.json").read_bytes()))


def counted(shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> int:
    """Parameters behind the tensors of a model's files: name -> (safetensors dtype, shape)."""
    packed = {name.split(STATE)[0] for name in shapes if STATE in name}
    total = 0
    for name, (dtype, shape) in shapes.items():
        if STATE in name or name.endswith(BESIDE):
            continue
        size = 1
        for side in shape:
            size *= side
        total += size * BYTES[dtype] * PER_BYTE if name in packed else size
    return total


def check_precision(stored: bool, precision: str) -> None:
    """ConfigurationError when NF4 files should be trained as something else."""
    if stored and precision != "nf4":
        raise ConfigurationError(
            f"the base model's files hold NF4 weights, the job asks for precision {precision}",
            adjustment={"precision": "nf4"},
            fault="stored_precision",
        )


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the base model cannot be used: {why}",
        cause="QLoRA trains on NF4 weights with double quantisation",
        fix="use the unquantised model (it is quantised while loading), or one saved as NF4 with "
        "bnb_4bit_use_double_quant=True",
        fault="model_unusable",
    )
