"""Which optimizer a checkpoint belongs to: its state decides, whatever this machine would choose.

bitsandbytes and torch name the two moments of Adam differently, and neither reads the other's.
"""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.choices import Choice, Optimizer

# bitsandbytes wraps its moments, so that FSDP does not gather them.
KEYS: dict[str, Optimizer] = {
    "__bnb_optimizer_quant_state__": "paged_adamw_32bit",
    "state1": "paged_adamw_32bit",
    "exp_avg": "adamw_torch_fused",
}


def of_checkpoint(folder: Path) -> Optimizer | None:
    """The optimizer whose state lies in `folder`; None when it holds none that we know."""
    saved = torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu", mmap=True)
    first: dict[str, object] = next(iter(saved["state"].values()), {})
    return next((name for key, name in KEYS.items() if key in first), None)


def settled(chosen: Choice[Optimizer], resume: Path | None) -> Choice[Optimizer]:
    """The choice, unless a checkpoint to go on from was made with the other one."""
    before = of_checkpoint(resume) if resume else None
    if before is None or before == chosen.value:
        return chosen
    return Choice(before, "the checkpoint was made with it")
