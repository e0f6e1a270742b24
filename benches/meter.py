"""Wall and process CPU seconds (all threads) of training alone: evaluation stops the clock."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

import torch

from trainer import data, loading, loss


class Meter:
    """Reads both clocks after every optimizer step; `at_cpu` seconds call `look` once."""

    def __init__(self, at_cpu: float | None, look: Callable[[], float]) -> None:
        self.at_cpu = at_cpu
        self.look = look
        self.steps: list[tuple[float, float]] = []
        self.seen: float | None = None
        self.seen_after: int | None = None  # steps
        self.away = [0.0, 0.0]
        self.begun = [0.0, 0.0]

    def start(self) -> None:
        self.begun = [time.perf_counter(), time.process_time()]

    def read(self) -> tuple[float, float]:
        """(wall, CPU) seconds since the start, without the time that `paused` took."""
        now = (time.perf_counter(), time.process_time())
        return now[0] - self.begun[0] - self.away[0], now[1] - self.begun[1] - self.away[1]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        before = (time.perf_counter(), time.process_time())
        yield
        self.away[0] += time.perf_counter() - before[0]
        self.away[1] += time.process_time() - before[1]

    def step(self) -> None:
        self.steps.append(self.read())
        if self.at_cpu is not None and self.seen is None and self.steps[-1][1] >= self.at_cpu:
            with self.paused():
                self.seen, self.seen_after = self.look(), len(self.steps)

    def per_step(self) -> list[float]:
        """CPU seconds of every step."""
        ends = [0.0, *(cpu for _, cpu in self.steps)]
        return [after - before for before, after in itertools.pairwise(ends)]


def mean_nll(model: torch.nn.Module, held_out: list[data.Sample]) -> float:
    """Nats per assistant token over the held-out conversations; training goes on unchanged."""
    backbone, head = loading.parts(model)
    rng, training = torch.get_rng_state(), model.training
    model.eval()
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for sample in held_out:
            hidden = backbone(input_ids=torch.tensor([sample.ids]), use_cache=False)
            labels = torch.tensor([sample.labels])
            states, targets = loss.labelled(hidden.last_hidden_state, labels)
            nats += loss.token_nll(states, head, targets).double().sum().item()
            tokens += len(targets)
    model.train(training)
    torch.set_rng_state(rng)
    return nats / tokens
