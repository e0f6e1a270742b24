"""What RunPod offers, what it costs and whether it is ready, at the fake."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from fakes.runpod.account import Problem
from fakes.runpod.bill import Bill
from fakes.runpod.market import Market as Stock
from pydantic import SecretStr
from runpod_rentals import IMAGE, account, offer, provider, wanted

from brightrun.compute import provider_of
from brightrun.compute.ending import make_gone
from brightrun.compute.runpod.client import Client
from brightrun.compute.runpod.graphql import SpotGone
from brightrun.compute.runpod.pods import Place
from brightrun.compute.runpod.problems import Away, BalanceEmpty, Denied
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.errors import ConfigurationError
from brightrun.jobs import Market
from brightrun.settings import Settings

NAME = "br-job-1-1-abc"


def test_offers_say_price_stock_place_and_time_on_both_markets() -> None:
    with account() as fake:
        found = provider(fake).offers()
        now = fake.clock.now()
    pcie = {(o.market, o.data_center): o for o in found if o.gpu == "NVIDIA H100 PCIe"}
    steady = pcie[Market.on_demand, "EU-RO-1"]
    assert (steady.device, steady.memory_gb, steady.stock) == ("H100 80GB PCIe", 80, "high")
    assert (steady.usd_per_hour, steady.cloud, steady.as_of) == (Decimal("2.39"), "SECURE", now)
    assert steady.cuda == ("12.8", "12.9")
    assert "catalogue" in steady.source
    assert pcie[Market.spot, "EU-RO-1"].usd_per_hour == Decimal("1.25")


def test_a_gpu_out_of_stock_keeps_its_price() -> None:
    market = Stock()
    market.kinds[0].stock.clear()
    with account(market=market) as fake:
        found = [o for o in provider(fake).offers() if o.gpu == "NVIDIA H100 PCIe"]
    assert {(o.data_center, o.stock) for o in found} == {("", "none")}


def test_spot_that_is_not_offered_does_no_harm() -> None:
    with account() as fake:
        rents = provider(fake)
        bid = offer(rents, market="spot")
        fake.account.market.spot_offered = False
        assert {o.market for o in rents.offers()} == {Market.on_demand}
        with pytest.raises(SpotGone):
            rents.launch(wanted(bid))
        balance = rents.balance()
        assert balance is not None


def test_a_key_that_may_not_use_graphql_offers_what_it_may_rent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(body: Any) -> Any:
        raise Problem(403, "Forbidden", "this key has no access to GraphQL")

    with account() as fake:
        monkeypatch.setattr(fake, "_graphql", forbidden)
        rents = provider(fake)
        assert {o.market for o in rents.offers()} == {Market.on_demand}
        with pytest.raises(Denied, match="no access"):
            rents.balance()


def test_prices_move() -> None:
    with account(market=Stock(volatility=0.2, seed=3)) as fake:
        rents = provider(fake)
        seen = set()
        for _ in range(5):
            seen.add(offer(rents).usd_per_hour)
            fake.clock.sleep(600)
    assert len(seen) > 1


def test_the_balance_is_what_the_fakes_own_books_leave() -> None:
    with account(bill=Bill(credit_micro=10_000_000)) as fake:
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        fake.clock.sleep(3600)
        found = rents.balance()
        assert found is not None
        assert (found.usd, found.spend_per_hour) == (Decimal("7.61"), Decimal("2.39"))
        fake.clock.sleep(4 * 3600)
        assert rents.find(NAME) is None
        assert fake.account.alive() == []
        with pytest.raises(BalanceEmpty):
            rents.launch(wanted(offer(rents), "br-job-1-2-abc"))


def test_the_bill_is_split_by_hour_and_sums_up() -> None:
    with account() as fake:
        rents = provider(fake)
        pod = rents.launch(wanted(offer(rents)))
        fake.clock.sleep(5400)
        make_gone(rents, NAME, fake.clock)
        asked = {"bucketSize": "hour", "lastN": 3, "podId": pod.provider_id}
        found = rents.rest.get("/v2/billing/pods", asked)
    assert [record["gpuAmount"] for record in found["records"]] == [2.39, 1.195]
    assert found["metadata"]["totals"]["totalAmount"] == 3.585


def test_what_is_not_ready_is_said_with_its_mend() -> None:
    with account() as fake:
        fake.account.volumes["vol1"] = "EU-RO-1"
        taken = next(o for o in provider(fake).offers() if o.data_center == "US-KS-2")
        ready = provider(fake, Place(image=IMAGE)).unready(wanted(taken))
        moved = provider(fake, Place(image="trainer:latest", volume="vol1")).unready(wanted(taken))
        gone = provider(fake, Place(image=IMAGE, volume="none")).unready(wanted(taken))
        assert provider(fake, Place(image=IMAGE, volume="vol1")).data_center() == "EU-RO-1"
    assert ready == ()
    assert [("digest" in line, "EU-RO-1" in line) for line in moved] == [
        (True, False),
        (False, True),
    ]
    assert "no network volume 'none'" in gone[0]


def test_a_volume_without_its_size_or_place_is_an_answer_of_nonsense() -> None:
    class Bare(Client):
        def get(self, path: str, params: object = None) -> Any:
            return {"id": "vol1", "size": None}

    with account() as fake:
        rents = provider(fake, Place(image=IMAGE, volume="vol1"))
        rents.rest = Bare(fake.url, SecretStr("k"))
        with pytest.raises(Away, match="size is None"):
            rents.volume_gb()
        with pytest.raises(Away, match="dataCenter is None"):
            rents.volume_place()


def test_the_settings_make_a_provider_and_its_key_is_printed_nowhere() -> None:
    with pytest.raises(ConfigurationError, match="RUNPOD_API_KEY"):
        provider_of("runpod", Settings())
    settings = Settings(runpod_api_key="planted", runpod_clouds="SECURE, COMMUNITY")  # type: ignore[arg-type]
    made = provider_of("runpod", settings)
    assert isinstance(made, RunPodProvider)
    assert made.place.clouds == ("SECURE", "COMMUNITY")
    assert "planted" not in repr(vars(made)) + repr(settings)
