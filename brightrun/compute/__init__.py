"""Renting pods: one Protocol, one adapter file per provider, one registry."""

from __future__ import annotations

from brightrun.compute.local import LocalProvider
from brightrun.compute.provider import ComputeProvider
from brightrun.errors import ConfigurationError
from brightrun.settings import Settings


def provider_of(name: str, settings: Settings, *, patient: bool = True) -> ComputeProvider:
    """The provider called `name`; ConfigurationError when there is none.

    patient False: a question that is not answered at once is not asked again.
    """
    if name == "local":
        return LocalProvider(
            settings.home.resolve() / "pods", usd_per_hour=settings.local_usd_per_hour
        )
    if name == "runpod":
        from brightrun.compute.runpod.provider import RunPodProvider  # httpx: 0.1 s

        return RunPodProvider.of(settings, patient=patient)
    raise ConfigurationError(f"there is no provider {name!r}", fix="use --provider local or runpod")
