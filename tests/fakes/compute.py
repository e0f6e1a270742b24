"""A provider whose pods are generators: each look at a pod lets it go one step further."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from brightrun.compute.provider import Billed, LaunchRequest, Manners, Offer, Pod

# Gets the pod's environment; every `yield` is a moment; the pod is gone when it returns.
Life = Callable[[dict[str, str]], Iterator[None]]


class FakeProvider:
    """`lives` are used up one by one; `launched` and `terminated` are names in order."""

    manners = Manners(look_every_s=0.0, second_look_s=0.002)

    def __init__(self, *lives: Life) -> None:
        self.lives = list(lives)
        self.running: dict[str, Iterator[None]] = {}
        self.launched: list[LaunchRequest] = []
        self.terminated: list[str] = []

    def offers(self, gpu_count: int = 1) -> tuple[Offer, ...]:
        return ()

    def launch(self, request: LaunchRequest) -> Pod:
        self.launched.append(request)
        self.running[request.name] = self.lives.pop(0)(request.environment)
        return Pod(name=request.name, provider_id="1", state="running")

    def learn(self, name: str, pod_id: str) -> None:
        return

    def find(self, name: str) -> Pod | None:
        if name not in self.running:
            return None
        try:
            next(self.running[name])
        except StopIteration:
            del self.running[name]
            return None
        return Pod(name=name, provider_id="1", state="running")

    def list(self, prefix: str) -> list[Pod]:
        return [
            Pod(name=n, provider_id="1", state="running")
            for n in self.running
            if n.startswith(prefix)
        ]

    def terminate(self, name: str) -> None:
        if self.running.pop(name, None) is not None:
            self.terminated.append(name)

    def balance(self) -> None:
        return None

    def billing(self, since: datetime) -> tuple[Billed, ...]:
        return ()

    def data_center(self) -> str:
        return ""

    def volume_gb(self) -> float:
        return 0.0

    def unready(self, request: LaunchRequest) -> tuple[str, ...]:
        return ()
