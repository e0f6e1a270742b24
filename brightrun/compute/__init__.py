"""Renting pods: one Protocol, one adapter file per provider, one registry."""

from __future__ import annotations

from brightrun.compute.local import LocalProvider
from brightrun.compute.provider import ComputeProvider
from brightrun.errors import CapacityError
from brightrun.settings import Settings


def provider_of(name: str, settings: Settings) -> ComputeProvider:
    """The provider called `name`; CapacityError when this version cannot rent from it."""
    if name == "local":
        return LocalProvider(settings.home.resolve() / "pods")
    raise CapacityError(
        f"provider {name!r} cannot rent a pod in this version",
        cause="only the local provider is built; runpod can be estimated, not rented",
        fix="use --provider local, or `brightrun estimate --provider runpod` for its price",
    )
