"""RunPod's network volumes: found by id or name, made once, grown; never made smaller or deleted.

A create knows no idempotency key: after a doubtful answer the volume is looked for by its name, and
the request is not sent again.
"""

from __future__ import annotations

from typing import Any

from brightrun.compute.runpod.client import Client, settled
from brightrun.compute.runpod.problems import Away, NotThere, to_mend
from brightrun.errors import ConfigurationError, ProviderError
from brightrun.frozen import Frozen

PATH = "/v2/network-volumes"
LEAST_GB, MOST_GB = 10, 4096  # by the contract


class NetworkVolume(Frozen):
    id: str
    name: str
    size_gb: int
    data_center: str


def volume_of(facts: Any) -> NetworkVolume:
    """NetworkVolume of the contract; Away when it is none."""
    try:
        return NetworkVolume(
            id=facts["id"], name=facts["name"], size_gb=facts["size"],
            data_center=facts["dataCenter"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise Away(
            f"RunPod described a volume in a way we do not know: {type(error).__name__}"
        ) from None


def found(rest: Client, volume_id: str, name: str) -> NetworkVolume | None:
    """The volume with that id, or the one of that name; None: there is none yet.

    ConfigurationError: the id is unknown, or the name belongs to several.
    """
    if volume_id:
        try:
            return volume_of(rest.get(f"{PATH}/{volume_id}"))
        except NotThere:
            raise ConfigurationError(
                f"the account has no network volume {volume_id!r}",
                cause="BRIGHTRUN_RUNPOD_VOLUME (or deployments/network-volume.json) names it",
                fix="mend it, or remove it to have a new volume made",
            ) from None
    every = map(volume_of, rest.listed(PATH, "networkVolumes"))
    same = [volume for volume in every if volume.name == name]
    if len(same) > 1:
        ids = ", ".join(f"{volume.id} in {volume.data_center}" for volume in same)
        raise ConfigurationError(
            f"{len(same)} network volumes are called {name!r}: {ids}",
            fix="set BRIGHTRUN_RUNPOD_VOLUME to the id of the right one",
        )
    return same[0] if same else None


def made(rest: Client, name: str, size_gb: int, data_center: str) -> NetworkVolume:
    """A new volume, which bills from now on until somebody deletes it in RunPod's console.

    ProviderError: there may be one that no list shows.
    """
    body = {"name": name, "size": size_gb, "dataCenter": data_center}
    try:
        with to_mend():
            return volume_of(rest.create(PATH, body))
    except Away as doubt:
        if (volume := settled(rest.clock, lambda: found(rest, "", name))) is not None:
            return volume
        raise ProviderError(
            f"RunPod may have made the network volume {name!r}: {doubt.message}",
            cause="the answer to the create was lost, and no list shows the volume",
            fix="run the command again in some minutes: it takes the volume of that name if there "
            "is one; a volume bills until it is deleted, so look into RunPod's console too",
        ) from doubt


def grown(rest: Client, volume: NetworkVolume, size_gb: int) -> NetworkVolume:
    """The volume with at least that size."""
    if volume.size_gb >= size_gb:
        return volume
    with to_mend():
        return volume_of(rest.change(f"{PATH}/{volume.id}", {"size": size_gb}))
