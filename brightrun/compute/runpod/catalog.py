"""What RunPod offers now: GET /v2/catalog/gpus and, while it exists, the spot market's prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from brightrun import gpus
from brightrun.compute.provider import Offer, Stock
from brightrun.compute.runpod.client import Client
from brightrun.compute.runpod.graphql import GraphQl
from brightrun.jobs import Market

SOURCE = "RunPod's catalogue (GET /v2/catalog/gpus)"
SPOT_SOURCE = "RunPod's GraphQL (lowestPrice)"
NAME = "runpod"
STOCKS: dict[str, Stock] = {"NONE": "none", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}


def on_demand(
    client: Client, clouds: Iterable[str], count: int, min_cuda: str, as_of: datetime
) -> tuple[Offer, ...]:
    """On-demand offers of every GPU type and data centre; stock is of `count` GPUs in one pod."""
    found: list[Offer] = []
    for cloud in clouds:
        asked: dict[str, str | int] = {
            "include": "AVAILABILITY", "product": "POD", "count": count, "cloud": cloud,
        }  # fmt: skip
        if min_cuda:
            asked["minCudaVersion"] = min_cuda
        for kind in client.get("/v2/catalog/gpus", asked)["gpus"]:
            found += offers_of(kind, cloud, as_of)
    return tuple(found)


def offers_of(kind: Mapping[str, Any], cloud: str, as_of: datetime) -> list[Offer]:
    """One GPU type's offers in one cloud, one for each data centre; pure.

    Without a data centre in stock its price is still known: one offer, nowhere, stock none.
    """
    tier = cloud.lower()
    price = Decimal(str(kind["price"][tier]))
    if not kind[tier] or price <= 0:
        return []
    device = gpus.known(kind["id"])
    cuda = tuple(v["version"] for v in kind.get("cudaVersions") or () if v["available"])
    places = kind.get("dataCenters") or [{"id": "", "availability": "NONE"}]
    return [
        Offer(
            provider=NAME,
            gpu=kind["id"],
            device=device.name if device else "",
            market=Market.on_demand,
            usd_per_hour=price,
            stock=STOCKS.get(place["availability"], "none"),
            source=SOURCE,
            as_of=as_of,
            data_center=place["id"],
            cloud=cloud,
            memory_gb=float(kind["memory"]),
            max_count=int(kind["maxCount"][tier]),
            cuda=cuda,
        )
        for place in places
    ]


def spot(graphql: GraphQl, listed: Iterable[Offer], count: int) -> tuple[Offer, ...]:
    """The same places on the spot market, at the least bid; () when it is not offered."""
    prices = graphql.spot_prices(count)
    return tuple(
        offer.model_copy(
            update={
                "market": Market.spot,
                "usd_per_hour": prices[offer.gpu][0],
                "source": SPOT_SOURCE,
            }
        )
        for offer in listed
        if offer.gpu in prices
    )
