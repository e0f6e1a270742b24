"""GPU types, prices that move, stock that runs out."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

LEVELS = ((0, "NONE"), (2, "LOW"), (5, "MEDIUM"))
MOVES_EVERY_S = 600.0


@dataclass
class GpuKind:
    """prices: $/h for one GPU, by cloud; spot None = no bids are taken; stock: by data centre."""

    id: str
    memory: int
    secure: float
    community: float
    spot: float | None
    stock: dict[str, int]
    max_count: int = 8
    cuda: tuple[str, ...] = ("12.8", "12.9")


def usual() -> list[GpuKind]:
    """A small catalogue with RunPod's own ids; prices and stock are made up."""
    return [
        GpuKind("NVIDIA H100 PCIe", 80, 2.39, 1.99, 1.25, {"US-KS-2": 3, "EU-RO-1": 6}),
        GpuKind("NVIDIA H100 80GB HBM3", 80, 2.99, 2.69, 1.75, {"US-KS-2": 1, "US-CA-2": 8}),
        GpuKind("NVIDIA A100 80GB PCIe", 80, 1.64, 1.19, 0.82, {"US-KS-2": 2}),
        GpuKind("NVIDIA GeForce RTX 4090", 24, 0.69, 0.34, 0.29, {"EU-RO-1": 9}),
    ]


@dataclass
class Market:
    """`volatility`: each list price is drawn anew every 10 minutes within +- this share."""

    kinds: list[GpuKind] = field(default_factory=usual)
    volatility: float = 0.0
    seed: int = 0
    spot_offered: bool = True

    def kind(self, gpu: str) -> GpuKind | None:
        return next((kind for kind in self.kinds if kind.id == gpu), None)

    def price(self, kind: GpuKind, which: str, at: datetime) -> float:
        """$/h of one GPU now; which: secure, community, spot."""
        base = float(getattr(kind, which) or 0.0)
        moment = int(at.timestamp() // MOVES_EVERY_S)
        drawn = random.Random(f"{self.seed} {kind.id} {which} {moment}").uniform(-1, 1)
        return round(base * (1 + self.volatility * drawn), 2)

    def take(self, gpu: str, places: list[str], count: int) -> str | None:
        """Reserve GPUs in the first wished place that has them; the place, None = no capacity."""
        kind = self.kind(gpu)
        if kind is None:
            return None
        for place in places or list(kind.stock):
            if kind.stock.get(place, 0) >= count:
                kind.stock[place] -= count
                return place
        return None

    def give_back(self, gpu: str, place: str, count: int) -> None:
        kind = self.kind(gpu)
        if kind is not None:
            kind.stock[place] = kind.stock.get(place, 0) + count

    def listed(self, kind: GpuKind, availability: bool, count: int, at: datetime) -> dict[str, Any]:
        """GpuType of the contract."""
        found: dict[str, Any] = {
            "id": kind.id,
            "name": kind.id.removeprefix("NVIDIA "),
            "pool": None,
            "manufacturer": "NVIDIA",
            "memory": kind.memory,
            "secure": kind.secure > 0,
            "community": kind.community > 0,
            "price": {
                "secure": self.price(kind, "secure", at),
                "community": self.price(kind, "community", at),
            },
            "maxCount": {"secure": kind.max_count, "community": kind.max_count},
        }
        if availability:
            left = {place: n // count for place, n in kind.stock.items()}
            found["availability"] = level(max(left.values(), default=0))
            places = [
                {"id": place, "name": place, "availability": level(n)}
                for place, n in sorted(left.items())
                if n > 0
            ]
            if places:
                found["dataCenters"] = places
            found["cudaVersions"] = [{"version": v, "available": bool(places)} for v in kind.cuda]
        return found


def level(stock: int) -> str:
    return next((name for most, name in LEVELS if stock <= most), "HIGH")
