"""A pod of RunPod as values: what we ask for (REST and spot), what we read of an answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from brightrun.compute.provider import LaunchRequest, Offer, Pod, PodState
from brightrun.compute.runpod.problems import Away
from brightrun.frozen import Frozen
from brightrun.settings import Settings

STATES: dict[str, PodState] = {
    "PROVISIONING": "starting",
    "STARTING": "starting",
    "RUNNING": "running",
    "EXITED": "ended",
    "ERROR": "ended",
}
TERMINATED = "TERMINATED"
MODELS_VARIABLE = "BRIGHTRUN_MODELS"
# Where a pod may fetch its base model to, and finds what an earlier one has fetched.
VOLUME_VARIABLE = "BRIGHTRUN_VOLUME"
# Where a pod that nobody ends asks for its own end (trainer/selfend.py).
REST_VARIABLE, GRAPHQL_VARIABLE = "BRIGHTRUN_RUNPOD_REST_URL", "BRIGHTRUN_RUNPOD_GRAPHQL_URL"


class Place(Frozen):
    """What all our pods at RunPod have in common."""

    image: str = ""
    registry: str = ""
    args: str = ""
    disk_gb: int = 60
    volume: str = ""
    volume_path: str = "/workspace"
    models: str = "/workspace/models"
    clouds: tuple[str, ...] = ("SECURE",)
    data_centers: tuple[str, ...] = ()
    min_cuda: str = ""
    rest_url: str = ""
    graphql_url: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Place:
        return cls(
            image=settings.runpod_image,
            registry=settings.runpod_registry,
            args=settings.runpod_args,
            disk_gb=settings.runpod_disk_gb,
            volume=settings.volume,
            volume_path=settings.runpod_volume_path,
            models=settings.runpod_models,
            clouds=words(settings.runpod_clouds),
            data_centers=words(settings.runpod_data_centers),
            min_cuda=settings.runpod_min_cuda,
            rest_url=settings.runpod_rest_url,
            graphql_url=settings.runpod_graphql_url,
        )


def words(text: str) -> tuple[str, ...]:
    """ "A, B" -> ("A", "B")."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def environment(request: LaunchRequest, place: Place) -> dict[str, str]:
    """All that the pod is told, secrets included; RunPod shows it to every key of the account."""
    secrets = {name: value.get_secret_value() for name, value in request.secrets.items()}
    told = {
        VOLUME_VARIABLE: place.volume_path if place.volume else "",
        REST_VARIABLE: place.rest_url,
        GRAPHQL_VARIABLE: place.graphql_url,
    }
    known = {name: value for name, value in told.items() if value}
    return {**request.environment, MODELS_VARIABLE: place.models, **known, **secrets}


def body(request: LaunchRequest, offer: Offer, place: Place) -> dict[str, Any]:
    """CreatePodRequest of the contract: no open ports, no SSH, one data centre."""
    gpu: dict[str, Any] = {"id": offer.gpu, "count": request.gpu_count}
    if place.min_cuda:
        gpu["minCudaVersion"] = place.min_cuda
    wanted: dict[str, Any] = {
        "name": request.name,
        "image": place.image,
        "gpu": gpu,
        "cloud": offer.cloud,
        "dataCenterIds": [offer.data_center],
        "env": environment(request, place),
        "args": place.args,
        "disk": place.disk_gb,
        "ports": [],
    }
    if place.volume:
        mount = {"volumeId": place.volume, "path": place.volume_path}
        wanted["mounts"] = {"network": [mount]}
    if place.registry:
        wanted["registry"] = place.registry
    return wanted


def spot_input(request: LaunchRequest, offer: Offer, place: Place) -> dict[str, Any]:
    """PodRentInterruptableInput of the legacy API, as others' code calls it; bids the offer."""
    wanted: dict[str, Any] = {
        "name": request.name,
        "imageName": place.image,
        "gpuTypeId": offer.gpu,
        "gpuCount": request.gpu_count,
        "bidPerGpu": float(offer.usd_per_hour),
        "cloudType": offer.cloud,
        "dataCenterId": offer.data_center,
        "env": [{"key": k, "value": v} for k, v in sorted(environment(request, place).items())],
        "dockerArgs": place.args,
        "containerDiskInGb": place.disk_gb,
        "volumeInGb": 0,
        "ports": "",
    }
    if place.volume:
        wanted |= {"networkVolumeId": place.volume, "volumeMountPath": place.volume_path}
    if place.registry:
        wanted["containerRegistryAuthId"] = place.registry
    if place.min_cuda:
        wanted["allowedCudaVersions"] = allowed_cuda(offer.cuda, place.min_cuda)
    return wanted


def allowed_cuda(offered: Iterable[str], least: str) -> list[str]:
    """The legacy API has no minimum, only a list: what is offered from it on, else that alone."""
    return [version for version in offered if numbers(version) >= numbers(least)] or [least]


def numbers(version: str) -> tuple[int, ...]:
    """ "12.10" -> (12, 10)."""
    return tuple(int(part) for part in version.split("."))


def pod_of(facts: Mapping[str, Any]) -> Pod | None:
    """A pod of the contract as ours, None when it is terminated; Away when it is none.

    Its environment is not looked at: it holds secrets. `cost` is 0 for a pod that has ended, which
    says nothing of its price.
    """
    try:
        if facts["status"] == TERMINATED:
            return None
        cost = Decimal(str(facts.get("cost") or 0))
        return Pod(
            name=facts["name"],
            provider_id=facts["id"],
            state=STATES.get(facts["status"], "unknown"),
            usd_per_hour=cost or None,
            data_center=facts.get("dataCenterId") or "",
            created_at=datetime.fromisoformat(facts["createdAt"]),
            note=facts["status"],
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Away(
            f"RunPod described a pod in a way we do not know: {type(error).__name__}"
        ) from None
