"""adapter_model.safetensors -> adapter_model.bin, for integrations that cannot read safetensors.

python -m trainer.tobin adapter_model.safetensors adapter_model.bin
"""

from __future__ import annotations

import sys
from pathlib import Path


def convert(source: Path, target: Path) -> None:
    """The same tensors under the same names; the file is a pickle, as torch saves it."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(source), target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
