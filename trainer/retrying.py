"""Work that runs out of memory is done again once there is room. Whoever calls makes the room."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from brightrun.errors import OutOfMemory
from trainer import failures
from trainer.distributed import LostStep

T = TypeVar("T")
# (free, all) bytes of the GPU; None without one.
Free = tuple[int, int] | None


def until_it_fits(work: Callable[[], T], make_room: Callable[[str], None]) -> T:
    """`work()`; after an out of memory `make_room(its words)`, then again, until one of them raises
    something else."""
    while True:
        try:
            return work()
        except LostStep:
            raise
        except (RuntimeError, MemoryError) as error:
            if not failures.is_out_of_memory(error):
                raise
            failure = failures.first_line(error)
        # Here the exception is gone, and with it the frames that hold the activations.
        make_room(failure)


def once_more(
    work: Callable[[], T],
    tell: Callable[[str], None],
    too_large: Callable[[str, Free], OutOfMemory],
    may: Callable[[], bool] = lambda: True,
) -> T:
    """`work()`, a second time when it ran out of memory and `may` be repeated.

    tell(words of the failure) before the second try; `too_large` makes the error when there is none
    or it fails too.
    """
    tried = False

    def make_room(failure: str) -> None:
        nonlocal tried
        free = free_memory()
        if tried or not may():
            raise too_large(failure, free)
        tried = True
        tell(failure)

    return until_it_fits(work, make_room)


def free_memory() -> Free:
    """Give back what nobody holds any more."""
    gc.collect()
    if not torch.cuda.is_available():
        return None
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()
