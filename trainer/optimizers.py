"""Which optimizer a checkpoint belongs to, and updates that survive an out of memory.

bitsandbytes and torch name the two moments of Adam differently, and neither reads the other's.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from trainer.wishes import Choice, Optimizer

# bitsandbytes wraps its moments, so that FSDP does not gather them.
KEYS: dict[str, Optimizer] = {
    "__bnb_optimizer_quant_state__": "paged_adamw_32bit",
    "state1": "paged_adamw_32bit",
    "exp_avg": "adamw_torch_fused",
}
MOMENTS = (frozenset({"step", "exp_avg", "exp_avg_sq"}), frozenset({"step", "state1", "state2"}))


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


class Update:
    """One step of `optimizer`, by its library's own method `once`; `done` steps came before it.

    Both libraries allocate a parameter's moments before they change that parameter, and on a GPU
    nothing later. So while moments are missing, or no step is counted yet, it is known what was
    updated, and the rest can be done once there is room; else nobody knows, and the last checkpoint
    is the only safe place.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, once: Callable[[], Any], done: int
    ) -> None:
        self.optimizer = optimizer
        self.once = once
        self.done = done
        self.finished = False

    def run(self) -> None:
        """Update what is not updated yet."""
        if not self.finished:
            self.once()
            self.finished = True

    def may_go_on(self) -> bool:
        """After an out of memory: whether `run` may be called again. Never twice for a parameter:
        those that have made the step lose their gradients."""
        if self.finished:
            return True
        waiting = [p for group in self.optimizer.param_groups for p in group["params"]]
        waiting = [parameter for parameter in waiting if parameter.grad is not None]
        state = self.optimizer.state
        ready = [parameter for parameter in waiting if complete(state.get(parameter, {}))]
        updated = [parameter for parameter in ready if int(state[parameter]["step"]) > self.done]
        if updated and len(ready) == len(waiting):
            return False
        known = {id(parameter) for parameter in ready}
        for parameter in waiting:
            if id(parameter) not in known:
                state.pop(parameter, None)
        for parameter in updated:
            parameter.grad = None
        return True


def complete(state: Mapping[str, Any]) -> bool:
    """Whether a parameter's state has all that an update needs."""
    return any(names <= state.keys() for names in MOMENTS)


def guarded(
    optimizer: torch.optim.Optimizer,
    step: Callable[[torch.optim.Optimizer, Callable[[], Any]], None],
) -> torch.optim.Optimizer:
    """`optimizer`, which calls `step(itself, the library's own step)` for every step."""
    once = optimizer.step

    def method(self: torch.optim.Optimizer, closure: None = None) -> None:
        step(self, once)

    # A bound method, as the schedulers want it.
    optimizer.step = types.MethodType(method, optimizer)  # type: ignore[method-assign]
    return optimizer
