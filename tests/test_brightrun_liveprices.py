"""Estimates use what RunPod says now; the table only when it says nothing, and labelled so."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from fakes.runpod import FakeRunPod, Mischief
from fakes.runpod.server import KEY
from runpod_rentals import account

from brightrun import prices
from brightrun.jobs import Market
from brightrun.liveprices import live_prices
from brightrun.prices import Live
from brightrun.settings import Settings


def settings(fake: FakeRunPod | None = None, **more: Any) -> Settings:
    found: dict[str, Any] = {"runpod_api_key": KEY}
    if fake is not None:
        found |= {"runpod_rest_url": fake.url, "runpod_graphql_url": fake.graphql_url}
    return Settings(**{**found, **more})


def offered(known: Settings, gpu: str = "") -> list[prices.Price]:
    return prices.offers("runpod", gpu, known, live=live_prices("runpod", known))


def test_both_markets_carry_the_live_price_its_place_and_its_time() -> None:
    with account() as fake:
        spot, demand = offered(settings(fake))
    assert (spot.market, spot.offered, spot.usd_per_hour) == (Market.spot, True, Decimal("1.25"))
    assert (demand.usd_per_hour, demand.note) == (Decimal("2.39"), "")
    assert demand.source == "RunPod's catalogue (GET /v2/catalog/gpus), EU-RO-1, stock high"
    assert isinstance(demand.as_of, datetime)
    assert demand.as_json()["as_of"] == demand.as_of.isoformat()


def test_spot_that_is_gone_is_not_offered_and_on_demand_is_taken() -> None:
    with account() as fake:
        fake.account.market.spot_offered = False
        found = offered(settings(fake))
    price, note = prices.choose(found, Market.spot)
    assert price.market == Market.on_demand
    assert note.startswith("spot: not offered by RunPod now; on_demand is used")


def test_a_gpu_without_a_free_machine_keeps_its_price_and_says_so() -> None:
    with account() as fake:
        fake.account.market.kinds[0].stock.clear()
        demand = offered(settings(fake))[1]
    assert (demand.usd_per_hour, demand.note) == (
        Decimal("2.39"), "no free machine anywhere at the moment",
    )  # fmt: skip


def test_a_pod_of_two_gpus_costs_twice_as_much_live_or_not() -> None:
    with account() as fake:
        two = settings(fake, processes=2)
        assert offered(two)[1].usd_per_hour == Decimal("4.78")
    assert prices.offers("runpod", "", two)[1].usd_per_hour == Decimal("15.98")


def test_a_silent_api_is_asked_once_and_the_table_says_why() -> None:
    with account(mischief=Mischief({"read": ["read_html"]})) as fake:
        known = settings(fake)
        found = offered(known)
        assert sum(path == "/v2/catalog/gpus" for _, path, _ in fake.requests) == 1
    assert [p.usd_per_hour for p in found] == [Decimal("2.49"), Decimal("7.99")]
    assert "fall-back table" in found[1].source
    assert "no live price: RunPod failed" in found[1].source
    assert "ConnectError" in offered(known)[1].source


def test_without_a_key_the_table_is_used_and_says_so() -> None:
    found = offered(Settings())
    assert found[1].source.endswith("no live price: there is no key for RunPod")


def test_the_local_provider_has_no_market_to_ask() -> None:
    assert live_prices("local", Settings()) == Live()
