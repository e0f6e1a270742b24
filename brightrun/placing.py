"""Where the next pod of a job may be rented, best place first, and what is written down of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from brightrun import prices
from brightrun.compute.candidates import Candidate, Choice, Wish, choose
from brightrun.compute.provider import Offer
from brightrun.context import JobContext
from brightrun.jobs import Market
from brightrun.outcomes import NEVER_BOOTED
from brightrun.situation import Action, Place, Policy

# Prices move between the gate and the launch, and the faster H100 SXM costs about a quarter more
# an hour for about a quarter less time; what is dearer was not agreed to.
PRICE_TOLERANCE = Decimal("1.3")


@dataclass(frozen=True, slots=True)
class Rented:
    """usd_per_hour is of the whole pod; price is what launch.json says of it."""

    market: str
    usd_per_hour: Decimal
    price: dict[str, Any]
    data_center: str = ""
    gpu: str = ""
    offer: Offer | None = None

    @classmethod
    def at(
        cls, candidate: Candidate | None, estimate: Mapping[str, Any], market: str, count: int
    ) -> Rented:
        """None: nowhere in particular, at the price of the estimate."""
        if candidate is None:
            price = estimate["price"]
            return cls(market, Decimal(str(price["usd_per_hour"])), price)
        offer = candidate.offer
        usd = offer.usd_per_hour * count
        price = {
            "usd_per_hour": float(usd),
            "source": offer.source,
            "as_of": offer.as_of.isoformat(timespec="seconds"),
        }
        return cls(market, usd, price, offer.data_center, offer.gpu, offer)


def places(
    job: JobContext, estimate: Mapping[str, Any], market: str, action: Action | None
) -> Choice | None:
    """None: the provider has one kind of pod and no market. ProviderError: it does not answer."""
    count = job.settings.processes
    offers = job.provider.offers(count)
    if not offers and not job.provider.manners.far_away:
        return None
    home, now = job.provider.data_center(), job.clock.now()
    wish = Wish(
        market=Market(market),
        gpu_count=count,
        devices=devices(job.request.gpu, job.request.provider),
        memory_gb=float(estimate.get("vram_gb", 0.0)),
        data_centers=(home,) if home else (),
        max_usd_per_hour=agreed(estimate, market) * PRICE_TOLERANCE,
    )
    since = now - timedelta(hours=Policy().avoid_hours)
    mute = [
        Place(data_center=row.data_center, gpu=row.gpu, at=row.ended_at, mute=True)
        for row in job.ledger.ended_since(since, f"lost:{NEVER_BOOTED}")
        if row.provider == job.request.provider
    ]
    return choose(offers, wish, (*mute, *(action.avoid if action else ())))


def devices(gpu: str, provider: str) -> tuple[str, ...]:
    """The GPU that was asked for; unasked, both kinds of H100."""
    name = prices.gpu_name(gpu, provider)
    return (name,) if gpu else (prices.H100_PCIE, prices.H100_SXM)


def agreed(estimate: Mapping[str, Any], market: str) -> Decimal:
    """Dollars an hour that the gate saw for this market; else those of the chosen one."""
    rows = (r for r in estimate.get("markets", ()) if r["market"] == market and r["offered"])
    price = next(rows, estimate)["price"]
    return Decimal(str(price["usd_per_hour"]))
