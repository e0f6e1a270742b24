"""`brightrun setup volume`: what the network volume lacks, what that costs, and making it.

    wanted = plan(settings, account, base_model="", gpu="", size_gb=0, data_center="")
    volume = make(settings, account, wanted)

The NF4 copy on it is made by a pod: `brightrun.copying`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from brightrun import basemodels, copies, prices, quotes
from brightrun.compute.provider import STOCK_ORDER, Offer
from brightrun.compute.runpod import volumes
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.compute.runpod.volumes import NetworkVolume
from brightrun.errors import CapacityError, ConfigurationError
from brightrun.footprint import weights_gb
from brightrun.frozen import Frozen
from brightrun.jobs import Market
from brightrun.physics import ModelProfile
from brightrun.settings import Settings
from brightrun.specs import BaseModelRef

NAME = "brightrun-models"
SPARE = 1.15
# Guesses, none measured on an account: GB/s from the hub, from the volume, and onto it; boot in s.
FROM_HUB, READ, WRITTEN, BOOT_S = 0.25, 1.0, 0.5, 360.0
BOUNDS = {"low": 0.5, "likely": 1.0, "high": 3.0}


class Plan(Frozen):
    """volume None: it has to be made. seconds: of the copy's stages; copied: it is there."""

    model: BaseModelRef
    volume: NetworkVolume | None
    size_gb: int
    data_center: str
    usd_per_month: Decimal
    gpu: str
    copied: bool
    seconds: dict[str, float]
    vram_gb: float
    usd_per_hour: Decimal

    @property
    def grows(self) -> bool:
        return self.volume is not None and self.volume.size_gb < self.size_gb

    @property
    def complete(self) -> bool:
        return self.volume is not None and not self.grows and self.copied

    @property
    def usd(self) -> dict[str, Decimal]:
        """Of the pod that makes the copy."""
        hours = Decimal(str((sum(self.seconds.values()) + BOOT_S) / 3600))
        return {name: hours * Decimal(str(f)) * self.usd_per_hour for name, f in BOUNDS.items()}

    def lacks(self) -> tuple[str, ...]:
        """What would be made, in words."""
        found = []
        if self.volume is None:
            found.append(f"make network volume {NAME!r}: {self.size_gb} GB in {self.data_center}")
        elif self.grows:
            found.append(f"grow {self.volume.id} from {self.volume.size_gb} to {self.size_gb} GB")
        if not self.copied:
            found.append(f"fetch {self.model.name} onto it and write its NF4 copy, on a {self.gpu}")
        return tuple(found)


def plan(
    settings: Settings, account: RunPodProvider, *, base_model: str, gpu: str, size_gb: int,
    data_center: str,
) -> Plan:  # fmt: skip
    """Looks only. ConfigurationError: no facts of the model here, or the volume is elsewhere."""
    name = basemodels.chosen(base_model, "runpod", settings)
    model = basemodels.resolve(name, settings.models)
    profile = quotes.model_for(base_model, "runpod", settings)
    device = prices.gpu_name(gpu, "runpod")
    offers = [o for o in account.offers() if o.device == device and o.market == Market.on_demand]
    volume = volumes.found(account.rest, settings.volume, NAME)
    if volume is not None and data_center not in ("", volume.data_center):
        raise ConfigurationError(
            f"the network volume {volume.id} lies in {volume.data_center}, not in {data_center}",
            cause="a volume's data centre cannot be changed",
            fix="leave --data-center out, or unset BRIGHTRUN_RUNPOD_VOLUME and rename the volume",
        )
    home = volume.data_center if volume else data_center or best_place(offers, device)
    needed = max(size_gb, size_of(profile), volume.size_gb if volume else 0)
    asked = [o.usd_per_hour for o in offers if o.data_center == home] or [
        o.usd_per_hour for o in offers
    ]
    if not asked:
        raise CapacityError(f"RunPod's catalogue has no {device} now", fix="name another by --gpu")
    made = copies.read(settings.volume_file)
    there = made.copies if made and volume else ()
    return Plan(
        model=model,
        volume=volume,
        size_gb=needed,
        data_center=home,
        usd_per_month=needed * settings.runpod_volume_usd_per_gb_month,
        gpu=device,
        copied=bool(volume and copies.choose(model, "nf4", device, volume.id, there).quantised),
        seconds=seconds_of(profile),
        vram_gb=weights_gb(profile, "nf4") + 6,
        usd_per_hour=min(asked),
    )


def best_place(offers: Iterable[Offer], device: str) -> str:
    """Where the GPU is best in stock, then cheapest: a volume binds all later pods to it. Pure."""
    known = [offer for offer in offers if offer.data_center and offer.stock != "none"]
    if not known:
        raise CapacityError(
            f"no data centre offers {device} now",
            fix="name one by --data-center, or try again later",
        )
    return min(
        known, key=lambda o: (STOCK_ORDER[o.stock], o.usd_per_hour, o.data_center)
    ).data_center


def size_of(model: ModelProfile) -> int:
    """GB for the 16-bit weights and their copy, in tens: RunPod's volumes can only grow. Pure."""
    both = weights_gb(model, "bf16") + weights_gb(model, "nf4")
    return max(volumes.LEAST_GB, math.ceil(both * SPARE / 10) * 10)


def seconds_of(model: ModelProfile) -> dict[str, float]:
    """What the pod will take for the copy, by stage. Pure."""
    whole, packed = weights_gb(model, "bf16"), weights_gb(model, "nf4")
    stages = {
        "preprocessing": whole / FROM_HUB,
        "model_loading": whole / READ,
        "finalization": packed / WRITTEN,
    }
    return {name: round(seconds, 1) for name, seconds in stages.items()}


def make(settings: Settings, account: RunPodProvider, wanted: Plan) -> NetworkVolume:
    """The volume as planned, written into `volume_file`; the second time nothing is done."""
    if wanted.volume is None:
        volume = volumes.made(account.rest, NAME, wanted.size_gb, wanted.data_center)
    else:
        volume = volumes.grown(account.rest, wanted.volume, wanted.size_gb)
    before = copies.read(settings.volume_file)
    known = before.copies if before and before.id == volume.id else ()
    facts = {"id": volume.id, "name": volume.name, "data_center": volume.data_center}
    copies.write(settings.volume_file, copies.Made(**facts, copies=known))
    return volume
