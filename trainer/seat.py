"""Which of a pod's processes this is. Standard library only: read before anything heavy loads.

The launchers (torchrun, accelerate launch) number the processes by environment variables. They
are taken out of it: every process is a whole trainer of its own for transformers and accelerate,
on the one GPU that is left visible to it; `trainer.distributed` adds the processes up.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

TAKEN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK",
         "ROLE_WORLD_SIZE", "GROUP_WORLD_SIZE")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seat:
    """rank of size processes, local: number on this machine; address: of the meeting point."""

    rank: int = 0
    size: int = 1
    local: int = 0
    address: str = ""

    @property
    def leads(self) -> bool:
        """Only this process writes events, checkpoints, measurements and the ending."""
        return self.rank == 0


def take(environ: MutableMapping[str, str]) -> Seat:
    """This process's seat; its variables leave `environ`, and one GPU stays visible.

    ValueError when the launcher's variables cannot be read.
    """
    found = {name: environ.pop(name) for name in TAKEN if name in environ}
    size = int(found.get("WORLD_SIZE", "1"))
    if size <= 1:
        return Seat()
    rank, local = int(found["RANK"]), int(found.get("LOCAL_RANK", found["RANK"]))
    address = f"tcp://{environ.get('MASTER_ADDR', '127.0.0.1')}:{environ['MASTER_PORT']}"
    environ["CUDA_VISIBLE_DEVICES"] = visible(environ.get("CUDA_VISIBLE_DEVICES"), local)
    return Seat(rank, size, local, address)


def visible(listed: str | None, local: int) -> str:
    """CUDA_VISIBLE_DEVICES of the process with that local number. Pure."""
    if listed is None:
        return str(local)
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return names[local] if local < len(names) else ""
