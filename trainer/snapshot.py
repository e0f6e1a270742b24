"""What a checkpoint holds: copied while training stands still, written while it goes on."""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from trainer.resuming import STATE, WEIGHTS

if TYPE_CHECKING:
    from trainer.labelled import LabelledTrainer


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Copies in the host's memory, in the files and formats that the HF Trainer resumes from.

    adapter: the adapter's weights under PEFT's names. states: what torch.save writes, by file.
    state: the trainer's own, as JSON.
    """

    adapter: dict[str, torch.Tensor]
    config: Any
    states: dict[str, Any]
    state: str

    def write(self, local: Path) -> None:
        """All files into the folder `local`; the trainer's state comes last."""
        save_file(self.adapter, local / WEIGHTS, metadata={"format": "pt"})
        self.config.save_pretrained(local)
        for name, value in self.states.items():
            torch.save(value, local / name)
        (local / STATE).write_text(self.state, encoding="utf-8")


def take(trainer: LabelledTrainer) -> Snapshot:
    """The state after the last finished step: nothing in it changes with the next one."""
    model = trainer.model
    name = model.active_adapter
    adapter = {
        key.replace(f".{name}.", "."): _copied(parameter)
        for key, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    config = copy.copy(model.peft_config[name])
    config.inference_mode = True  # as PEFT stores it
    states = {
        "optimizer.pt": _copied(trainer.optimizer.state_dict()),
        "scheduler.pt": _copied(trainer.lr_scheduler.state_dict()),
    }
    state = json.dumps(dataclasses.asdict(trainer.state), indent=2, sort_keys=True)
    return Snapshot(adapter, config, states, state + "\n")


def _copied(value: Any) -> Any:
    """The same nest of dicts and lists, its tensors copied into the host's memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(part) for part in value)
    return value
