"""How processes go through their work: each at its own pace, or all layer by layer together.

With a spread model (`trainer.sharding`) every layer is gathered from all processes: all of them
must compute the same layers in the same order. So work is done in turns, and whoever has nothing
left, or has failed, takes part with a single token of weight 0.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from trainer.control import StopRequested
from trainer.distributed import Group, LostStep, PeerFailed, rounds
from trainer.sharding import Gathers

GO, END, STOP, FAILED = range(4)


class Pace(Protocol):
    """How the processes of a group go through pieces of work. kind: for the facts of a machine."""

    kind: str

    def mine(self, costs: Sequence[int]) -> list[int | None]:
        """What this process does in each turn: a position in `costs`, or nothing."""

    def through(
        self, turns: Sequence[int | None], work: Callable[[int], None], training: bool
    ) -> None:
        """Do all turns; the first failure is raised when all are done."""

    def leading(self) -> contextlib.AbstractContextManager[None]:
        """Around what the leader computes alone; the group ends with it."""

    def follow(self) -> None:
        """Take part in what the leader computes alone, until the group ends."""


def pace(model: Any, gathers: Gathers | None, group: Group) -> Pace:
    """How the processes of `group` train and measure this model."""
    if gathers is None:
        return Apart(group)
    return Lockstep(model.get_decoder(), gathers, group)


class Apart:
    """Processes that hold the whole model (or a single one): nobody waits for anybody."""

    kind = ""

    def __init__(self, group: Group) -> None:
        self.group = group

    def mine(self, costs: Sequence[int]) -> list[int | None]:
        return list(self.group.mine(costs))

    def through(
        self, turns: Sequence[int | None], work: Callable[[int], None], training: bool
    ) -> None:
        for number in turns:
            if number is not None:
                work(number)

    def leading(self) -> contextlib.AbstractContextManager[None]:
        self.group.close()
        return contextlib.nullcontext()

    def follow(self) -> None:
        self.group.close()


class Lockstep:
    """Processes that share the layers of `backbone`, a decoder spread by `sharding.shard`."""

    kind = ", fsdp"

    def __init__(self, backbone: Any, gathers: Gathers, group: Group) -> None:
        self.backbone = backbone
        self.gathers = gathers
        self.group = group
        # What one piece of work gathers, by whether it is training (with a backward pass).
        self.known: dict[bool, list[Any]] = {}

    def mine(self, costs: Sequence[int]) -> list[int | None]:
        return rounds(costs, self.group.size)[self.group.seat.rank]

    def through(
        self, turns: Sequence[int | None], work: Callable[[int], None], training: bool
    ) -> None:
        self._rehearse(training)
        failure: Exception | None = None
        for number in turns:
            if number is None or failure is not None:
                self._take_part(training)
                continue
            self.gathers.begin()
            try:
                work(number)
            except Exception as error:  # noqa: BLE001 raised when the others are done, too
                failure = error
                self._catch_up(failure, training)
            self._settle(training)
        if failure is not None:
            raise failure

    @contextlib.contextmanager
    def leading(self) -> Iterator[None]:
        """Every forward pass of the backbone is announced, so that the others take part."""
        self._rehearse(training=False)
        hooks = [
            self.backbone.register_forward_pre_hook(lambda *_: self._announce(), prepend=True),
            self.backbone.register_forward_hook(lambda *_: self._settle(training=False)),
        ]
        try:
            yield
        except Exception as error:
            self._catch_up(error, training=False)
            self.group.tell(STOP if isinstance(error, StopRequested) else FAILED)
            raise
        finally:
            for hook in hooks:
                hook.remove()
        self.group.tell(END)
        self.group.close()

    def follow(self) -> None:
        """StopRequested or PeerFailed when that is how the leader ended."""
        self._rehearse(training=False)
        while (told := self.group.tell(GO)) == GO:
            self._take_part(training=False)
        if told == STOP:
            raise StopRequested
        if told == FAILED:
            raise PeerFailed
        self.group.close()

    def _announce(self) -> None:
        self.group.tell(GO)
        self.gathers.begin()

    def _rehearse(self, training: bool) -> None:
        """Once, all together and with a single token: to learn what is gathered."""
        if training not in self.known:
            self._take_part(training)
            self.known[training] = self.gathers.made

    def _take_part(self, training: bool) -> None:
        """One token, weight 0: a gradient of zeros."""
        self.gathers.begin()
        device = next(self.backbone.parameters()).device
        token = torch.zeros((1, 1), dtype=torch.long, device=device)
        try:
            with torch.set_grad_enabled(training):
                hidden = self.backbone(input_ids=token, use_cache=False).last_hidden_state
            if training:
                (hidden.sum() * 0.0).backward()
        except Exception as error:
            raise LostStep(error) from error
        self._settle(training)

    def _catch_up(self, failure: Exception, training: bool) -> None:
        """What the failed work would still have gathered: the others wait for it."""
        done = len(self.gathers.made)
        # The frames of the failure hold its activations.
        traceback.clear_frames(failure.__traceback__)
        self.backbone.reset_iter_state()
        try:
            self.gathers.repeat(self.known[training][done:])
        except Exception as error:
            raise LostStep(error) from error

    def _settle(self, training: bool) -> None:
        """After a forward pass that no backward pass follows, or the layers' order would grow."""
        if not training:
            self.backbone.reset_iter_state()
