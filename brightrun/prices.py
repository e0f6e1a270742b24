"""What an hour of a pod costs, where the figure came from and when. Pure.

Live offers come first. The RunPod table is the fall-back for a silent API: its figures are the
user's own documents', none was read from RunPod's service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from brightrun.compute.provider import STOCK_ORDER, Offer
from brightrun.errors import ConfigurationError, UsageError
from brightrun.jobs import Market
from brightrun.settings import Settings

CPU = "cpu"
H100_PCIE = "H100 80GB PCIe"
H100_SXM = "H100 80GB SXM"

TABLE_SOURCE = "fall-back table (the user's documents)"
TABLE_AS_OF = date(2026, 11, 22)  # the day the figures were entered here; they carry no date
LOCAL_SOURCE = "notional (BRIGHTRUN_LOCAL_USD_PER_HOUR)"
NO_SPOT = "not offered by RunPod's current API; listed price from the user's table"
NOT_NOW = "not offered by RunPod now"
TWO_FIGURES = (
    "the user's documents say $7.99/h and $2.39/h; the higher one is used, "
    "so that a gate without a live price does not guess low"
)
NO_SXM = "no SXM figure in the user's documents; upper H100 figure used"

_ALIASES = {
    "": "",
    "cpu": CPU,
    "local": CPU,
    "h100": H100_PCIE,
    "h100pcie": H100_PCIE,
    "h10080gbpcie": H100_PCIE,
    "nvidiah100pcie": H100_PCIE,
    "nvidiah10080gbpcie": H100_PCIE,
    "h100sxm": H100_SXM,
    "h10080gbsxm": H100_SXM,
    "h100sxm5": H100_SXM,
    "h10080gbhbm3": H100_SXM,
    "nvidiah10080gbhbm3": H100_SXM,
}


@dataclass(frozen=True, slots=True)
class Price:
    """One market's price of one pod. `offered` False: shown, never rented."""

    gpu: str
    market: Market
    usd_per_hour: Decimal
    source: str
    as_of: date | datetime
    offered: bool = True
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """{usd_per_hour, source, as_of}: the issue's price shape."""
        return {
            "usd_per_hour": float(self.usd_per_hour),
            "source": self.source,
            "as_of": self.as_of.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Live:
    """What a provider said; `silent`: why it said nothing, "" when it was not asked."""

    offers: tuple[Offer, ...] = ()
    silent: str = ""


NOT_ASKED = Live()


def gpu_name(gpu: str, provider: str) -> str:
    """Our name of a GPU ("cpu", "H100 80GB PCIe", "H100 80GB SXM"); "" = the provider's default."""
    plain = "".join(c for c in gpu.lower() if c.isalnum())
    default = CPU if provider == "local" else H100_PCIE
    name = _ALIASES.get(plain)
    if name is None or (provider == "runpod" and name == CPU):
        raise UsageError(
            f"there is no price for GPU {gpu!r} on {provider}",
            fix=f"use --gpu {H100_PCIE!r} or {H100_SXM!r} (runpod), or leave it out (local: cpu)",
        )
    return name or default


def offers(
    provider: str,
    gpu: str,
    settings: Settings,
    today: date | None = None,
    live: Live = NOT_ASKED,
) -> list[Price]:
    """Both markets of a GPU, spot first. UsageError: unknown provider or GPU."""
    if provider not in ("local", "runpod"):
        raise UsageError(f"there is no provider {provider!r}", fix="use --provider local or runpod")
    name = gpu_name(gpu, provider)
    if provider == "local":
        day = today or datetime.now(UTC).date()
        usd = settings.local_usd_per_hour
        nobody = "not offered: this machine has no spot market"
        return [
            Price(name, Market.spot, usd, LOCAL_SOURCE, day, offered=False, note=nobody),
            Price(name, Market.on_demand, usd, LOCAL_SOURCE, day),
        ]
    said = [listed(live.offers, name, market, settings.processes) for market in Market]
    if any(price is not None for price in said):
        return [price or absent(name, m) for m, price in zip(Market, said, strict=True)]
    return table(name, settings.processes, live.silent)


def listed(found: Sequence[Offer], name: str, market: Market, count: int) -> Price | None:
    """The best live price of a pod with `count` such GPUs; None: the market does not have it."""
    mine = [o for o in found if o.device == name and o.market == market]
    if not mine:
        return None
    best = min(mine, key=lambda o: (o.stock == "none", o.usd_per_hour, STOCK_ORDER[o.stock]))
    where = f", {best.data_center}, stock {best.stock}" if best.data_center else ""
    return Price(
        name,
        market,
        best.usd_per_hour * count,
        f"{best.source}{where}",
        best.as_of.replace(microsecond=0),
        note="no free machine anywhere at the moment" if best.stock == "none" else "",
    )


def absent(name: str, market: Market) -> Price:
    """A market that a provider that answered does not have now."""
    return Price(
        name, market, Decimal(0), "RunPod", datetime.now(UTC).date(), offered=False, note=NOT_NOW
    )


def table(name: str, count: int, silent: str) -> list[Price]:
    """The fall-back, labelled; silent: why there is no live price."""
    source = f"{TABLE_SOURCE}; no live price: {silent}" if silent else TABLE_SOURCE
    spot, spot_note = Decimal("2.49"), NO_SPOT
    demand_note = TWO_FIGURES
    if name == H100_SXM:
        spot, spot_note = Decimal("4.99"), f"{NO_SPOT}; {NO_SXM}"
        demand_note = f"{NO_SXM}; {TWO_FIGURES}"
    return [
        Price(name, Market.spot, spot * count, source, TABLE_AS_OF, offered=False, note=spot_note),
        Price(
            name, Market.on_demand, Decimal("7.99") * count, source, TABLE_AS_OF, note=demand_note
        ),
    ]


def choose(offered: Sequence[Price], market: Market | str) -> tuple[Price, str]:
    """The price of the wished market, or of the other one with a note that says so.

    UsageError: there is no such market. CapacityError is not ours to raise here: with nothing on
    offer a ConfigurationError says it.
    """
    if market not in set(Market):
        raise UsageError(f"there is no market {market!r}", fix=f"use one of: {', '.join(Market)}")
    wish = Market(market)
    wished = next((p for p in offered if p.market == wish), None)
    if wished is not None and wished.offered:
        return wished, wished.note
    other = next((p for p in offered if p.offered), None)
    if other is None:
        raise ConfigurationError(
            f"no market is on offer for {offered[0].gpu if offered else 'this GPU'}",
            fix="choose another --gpu or --provider",
        )
    why = wished.note if wished is not None else "not offered"
    note = f"{wish}: {why}; {other.market} is used"
    return other, f"{note}; {other.note}" if other.note else note
