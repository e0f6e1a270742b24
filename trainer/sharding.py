"""The frozen base model, spread over the processes by torch's `fully_shard` (FSDP2).

Each process holds its share of every decoder layer; a layer is gathered from all of them while it
is computed, forward and backward, and given up again. Embeddings, head and adapter are whole in
every process: so gradients, optimizer and checkpoints are those of data-parallel processes.

NF4: the packed bytes are split as uint8 (as floats, copies may change the bits of a NaN:
bitsandbytes#1945), the quantisation constants, 3 % of them, stay whole.
"""

from __future__ import annotations

from typing import Any

import bitsandbytes as bnb
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

# What PEFT and bitsandbytes read from a 4-bit weight; a share is a plain tensor without them.
OF_4BIT = ("compress_statistics", "quant_type", "quant_state")


class Gathers:
    """fully_shard's all-gather; remembers what was gathered since `begin`, to repeat it.

    made: (elements of the whole, elements of a share, dtype) of each, in order.
    """

    def __init__(self) -> None:
        self.made: list[tuple[int, int, torch.dtype]] = []
        self._device = torch.device("cpu")

    def begin(self) -> None:
        self.made = []

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        self._device = device
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor,
        group: dist.ProcessGroup, async_op: bool = False,
    ) -> Any:  # fmt: skip
        work = dist.all_gather_single(output_tensor, input_tensor, group, async_op)
        self.made.append((output_tensor.numel(), input_tensor.numel(), output_tensor.dtype))
        return work

    def repeat(self, made: list[tuple[int, int, torch.dtype]]) -> None:
        """The same gathers without anything to gather: what the other processes wait for."""
        for whole, share, dtype in made:
            received = torch.empty(whole, dtype=dtype, device=self._device)
            dist.all_gather_single(received, received.new_zeros(share))


def shard(model: Any, device: torch.device) -> Gathers:
    """Spread the decoder layers of `model` over the processes of the default group, in place.

    It lies in the machine's memory: a GPU gets one layer after another, and keeps its share.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    gathers = Gathers()
    backbone = model.get_decoder()
    for layer in backbone.layers:
        known = {
            linear: {name: getattr(linear.weight, name) for name in OF_4BIT}
            for linear in layer.modules()
            if isinstance(linear, bnb.nn.Linear4bit)
        }
        fully_shard(layer, mesh=mesh).set_custom_all_gather(gathers)
        for linear, state in known.items():
            # bitsandbytes' kernels take the constants' address as it is, wherever that lies.
            state["quant_state"].to(device)
            vars(linear.weight).update(state)
    # One root, so that the next layer is gathered while one is computed; it splits nothing itself.
    fully_shard(backbone, mesh=mesh, ignored_params=set(backbone.parameters()))
    for tensor in (*model.parameters(), *model.buffers()):
        if not isinstance(tensor, DTensor):
            tensor.data = tensor.data.to(device)
    return gathers


def held_bytes(model: nn.Module) -> tuple[int, int]:
    """Bytes of the parameters that this process holds, and of all, quantisation constants aside."""
    parameters = list(model.parameters())
    held = sum((p.to_local() if isinstance(p, DTensor) else p).nbytes for p in parameters)
    return held, sum(p.numel() * p.itemsize for p in parameters)
