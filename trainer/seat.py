"""Which of a pod's processes this is. Standard library only: read before anything heavy loads.

The launchers (torchrun, accelerate launch) number the processes by environment variables. They
are taken out of it: every process is a whole trainer of its own for transformers and accelerate,
on the one GPU that is left visible to it; `trainer.distributed` adds the processes up.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

TAKEN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK",
         "ROLE_WORLD_SIZE", "GROUP_WORLD_SIZE")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seat:
    """rank of size processes, local: number on this machine; address: of the meeting point; gpus:
    CUDA_VISIBLE_DEVICES as the launcher left it."""

    rank: int = 0
    size: int = 1
    local: int = 0
    address: str = ""
    gpus: str | None = None

    @property
    def leads(self) -> bool:
        """Only this process writes events, checkpoints, measurements and the ending."""
        return self.rank == 0

    def whole_pod(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment of a child that may use all of the pod's GPUs."""
        made = dict(environ)
        if self.size > 1:
            made.pop("CUDA_VISIBLE_DEVICES", None)
            if self.gpus is not None:
                made["CUDA_VISIBLE_DEVICES"] = self.gpus
        return made


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
    gpus = environ.get("CUDA_VISIBLE_DEVICES")
    environ["CUDA_VISIBLE_DEVICES"] = visible(gpus, local)
    return Seat(rank, size, local, address, gpus)


def visible(listed: str | None, local: int) -> str:
    """CUDA_VISIBLE_DEVICES of the process with that local number. Pure."""
    if listed is None:
        return str(local)
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return names[local] if local < len(names) else ""
