"""Several processes train one adapter: each takes a share of every step's micro-batches.

The step (global batch) is the plan's, and the loss is weighted by the whole step's labelled tokens.
The processes hold the same adapter and the same optimizer state; at the end of a step the gradients
are added up once, so a process may have more micro-batches than another, or none. Checkpoints are
those of a single process: made by N, resumed by M. Same data, same dropout, same result up to the
order in which numbers are added.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

from trainer import failures
from trainer.control import StopRequested
from trainer.seat import Seat

# A process that is only waited for is given so long beyond what the leader may wait for a storage;
# a lost one is found by its connection long before.
PATIENCE = timedelta(minutes=30)
BUCKET = 32 << 20
NOTHING = -1
FINE, ORDER, MEMORY, STOP, FAILED = range(5)


class PeerFailed(Exception):
    """Another process of this pod has failed; it says why."""

    def __init__(self) -> None:
        super().__init__("another process of this pod has failed and could not say why")


class NoFixedOrder(RuntimeError):
    """In one of the processes a kernel knows no fixed order of adding (`failures`)."""


class LostStep(RuntimeError):
    """A process cannot even take part without data: the others wait for it in vain, so it ends."""

    def __init__(self, cause: Exception) -> None:
        why = "out of memory" if failures.is_out_of_memory(cause) else type(cause).__name__
        super().__init__(f"this process cannot take part in a step: {why}: {cause}")


class Group:
    """The processes of a pod. A single one needs no connection, and every method is trivial.

    outage: the longest, in seconds, that one of them may wait for something outside the pod.
    """

    def __init__(self, seat: Seat | None = None, outage: float = 0.0) -> None:
        self.seat = seat or Seat()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.size > 1:
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            dist.init_process_group(
                backend, init_method=self.seat.address, rank=self.seat.rank,
                world_size=self.size, timeout=patience(outage),
            )  # fmt: skip

    @property
    def size(self) -> int:
        return self.seat.size

    @property
    def leads(self) -> bool:
        return self.seat.leads

    def mine(self, costs: Sequence[int]) -> list[int]:
        """Positions of the pieces of work that this process does, in order."""
        return shares(costs, self.size)[self.seat.rank]

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes: the same bits in all of them."""
        if self.size == 1:
            return
        with self.together():
            room = _room(tensors)
        self._sum(tensors, room)

    def _sum(self, tensors: Sequence[torch.Tensor], room: torch.Tensor) -> None:
        """Nothing is allocated here that one process alone could be refused."""
        for bucket in _buckets(tensors):
            sizes = [tensor.numel() for tensor in bucket]
            flat = room[: sum(sizes)]
            parts = [
                part.view_as(tensor)
                for part, tensor in zip(torch.split(flat, sizes), bucket, strict=True)
            ]
            for part, tensor in zip(parts, bucket, strict=True):
                part.copy_(tensor)
            dist.all_reduce(flat)
            for part, tensor in zip(parts, bucket, strict=True):
                tensor.copy_(part)

    def add_up_gradients(self, model: torch.nn.Module, also: torch.Tensor) -> None:
        """Sum the gradients of what is trained, and `also` (the loss). No micro-batch: zeros.

        Out of memory is raised in all processes, or in none.
        """
        if self.size == 1:
            return
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with self.together():
            for parameter in trained:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            gradients = [also, *(p.grad for p in trained if p.grad is not None)]
            room = _room(gradients)
        self._sum(gradients, room)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All processes leave this block the same way: done, without a fixed order, out of memory,
        stopped or failed."""
        if self.size == 1:
            yield
            return
        mine: BaseException | None = None
        try:
            yield
        except LostStep:
            raise
        except Exception as error:  # noqa: BLE001 told to the others, then raised
            mine = error
        worst = self._worst(_kind(mine))
        if worst == ORDER:
            words = failures.first_line(mine) if mine else "a kernel of another process"
            raise NoFixedOrder(words) from mine
        if mine is not None and _kind(mine) == worst:
            raise mine
        if worst == MEMORY:
            raise MemoryError("another process is out of memory")
        if worst == STOP:
            raise StopRequested
        if worst == FAILED:
            raise PeerFailed

    def tell(self, value: int) -> int:
        """The leader's value, in every process."""
        if self.size == 1:
            return value
        told = torch.tensor([value], device=self.device)
        dist.broadcast(told, 0)
        return int(told.item())

    def least(self, value: float) -> float:
        """The smallest of the processes' values, in every process."""
        if self.size == 1:
            return value
        found = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MIN)
        return float(found.item())

    def close(self) -> None:
        """Say goodbye, when all have come here."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    def _worst(self, kind: int) -> int:
        found = torch.tensor([kind], device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found.item())


def patience(outage: float) -> timedelta:
    """For how long a process waits for the others, one of which may wait `outage` seconds. Pure."""
    return PATIENCE + timedelta(seconds=outage)


def shares(costs: Sequence[int], size: int) -> list[list[int]]:
    """Positions for each of `size` processes: the largest first to whoever has least. Pure."""
    made: list[list[int]] = [[] for _ in range(size)]
    loads = [0] * size
    for at in sorted(range(len(costs)), key=lambda at: (-costs[at], at)):
        least = loads.index(min(loads))
        made[least].append(at)
        loads[least] += costs[at]
    return [sorted(share) for share in made]


def rounds(costs: Sequence[int], size: int) -> list[list[int | None]]:
    """Turns of each of `size` processes that wait for each other after every turn: pieces of like
    cost at the same time, None where nothing is left. Pure."""
    largest_first = sorted(range(len(costs)), key=lambda at: (-costs[at], at))
    order = [*largest_first, *[None] * (-len(costs) % size)]
    return [order[rank::size] for rank in range(size)]


def _kind(error: BaseException | None) -> int:
    if error is None:
        return FINE
    if isinstance(error, StopRequested):
        return STOP
    if failures.has_no_fixed_order(error):
        return ORDER
    return MEMORY if failures.is_out_of_memory(error) else FAILED


def _room(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """For the largest bucket, to send it in one piece."""
    largest = max(sum(tensor.numel() for tensor in bucket) for bucket in _buckets(tensors))
    return torch.empty(largest, dtype=tensors[0].dtype, device=tensors[0].device)


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Runs of tensors with at most BUCKET elements together (a larger one is alone)."""
    bucket: list[torch.Tensor] = []
    count = 0
    for tensor in tensors:
        if bucket and count + tensor.numel() > BUCKET:
            yield bucket
            bucket, count = [], 0
        bucket.append(tensor)
        count += tensor.numel()
    if bucket:
        yield bucket
