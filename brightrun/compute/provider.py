"""The seam to whoever rents out machines."""

from __future__ import annotations

from typing import Literal, Protocol

from brightrun.frozen import Frozen

PodState = Literal["running", "gone"]


class LaunchRequest(Frozen):
    """What a pod needs to know: a unique name and its environment, nothing else."""

    name: str
    environment: dict[str, str]


class Pod(Frozen):
    name: str
    provider_id: str
    state: PodState


class ComputeProvider(Protocol):
    """Names are unique per attempt and chosen by us, so that a doubtful launch can be looked up."""

    def launch(self, request: LaunchRequest) -> Pod:
        """Start a pod; CapacityError when there is none to be had."""

    def find(self, name: str) -> Pod | None:
        """The pod of that name, or None when there is none (any more)."""

    def list(self, prefix: str) -> list[Pod]:
        """Every pod whose name starts with `prefix`."""

    def terminate(self, name: str) -> None:
        """Make it go away; harmless when it is already gone."""
