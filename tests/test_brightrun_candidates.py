"""Which offer is asked first: cheap, in stock, where the volume is, not where a pod just failed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brightrun.compute.candidates import ALONE, Choice, Wish, all_refused, choose, none_fits
from brightrun.compute.provider import Offer, Refused
from brightrun.compute.runpod.problems import failure
from brightrun.errors import CapacityError, ConfigurationError
from brightrun.jobs import Market
from brightrun.situation import Place

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WISH = Wish(market=Market.on_demand)


def offer(usd: float = 2.39, place: str = "A", **more: object) -> Offer:
    facts = {
        "provider": "runpod", "gpu": "g", "device": "H100 80GB PCIe", "market": "on_demand",
        "usd_per_hour": str(usd), "stock": "high", "source": "test", "as_of": NOW,
        "data_center": place, "cloud": "SECURE", "memory_gb": 80.0, "max_count": 8,
    }  # fmt: skip
    return Offer.model_validate({**facts, **more})


offers = st.builds(
    offer,
    usd=st.sampled_from([1.0, 2.0, 3.0]),
    place=st.sampled_from("ABC"),
    gpu=st.sampled_from(["g", "h"]),
    stock=st.sampled_from(["none", "low", "medium", "high"]),
    market=st.sampled_from(["spot", "on_demand"]),
    memory_gb=st.sampled_from([24.0, 80.0]),
)
failures = st.builds(
    Place,
    data_center=st.sampled_from("ABC"),
    gpu=st.sampled_from(["g", "h"]),
    at=st.integers(0, 5).map(lambda hours: NOW - timedelta(hours=hours)),
    mute=st.booleans(),
)


def places(found: Choice) -> list[str]:
    return [c.offer.data_center for c in found.candidates]


def test_the_cheapest_comes_first_then_the_best_stocked() -> None:
    found = [offer(3, "A"), offer(2, "B", stock="low"), offer(2, "C")]
    assert places(choose(found, WISH, ())) == ["C", "B", "A"]


def test_a_place_that_failed_a_short_while_ago_is_the_last_resort_and_says_so() -> None:
    found = [offer(2, "A"), offer(3, "B")]
    failed = [
        Place(data_center="A", gpu="g", at=NOW - timedelta(hours=h), mute=True) for h in (1, 2)
    ]
    choice = choose(found, WISH, failed)
    assert places(choice) == ["B", "A"]
    assert "did not come up there at 11:00 UTC" in choice.candidates[1].reason


def test_where_a_pod_was_lost_the_next_one_may_live_where_one_never_spoke_it_may_not() -> None:
    found = [offer(1, "A"), offer(2, "B"), offer(3, "C")]
    lost = Place(data_center="B", gpu="g", at=NOW)
    mute = Place(data_center="A", gpu="g", at=NOW - timedelta(hours=2), mute=True)
    choice = choose(found, WISH, [mute, lost, mute.model_copy(update={"at": NOW, "mute": False})])
    assert places(choice) == ["C", "B", "A"]
    assert "a pod was lost there at 12:00 UTC" in choice.candidates[1].reason
    assert "did not come up there at 10:00 UTC" in choice.candidates[2].reason


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"market": "spot"}, "another market than spot"),
        ({"devices": ("L40S",)}, "another GPU than wished"),
        ({"memory_gb": 90}, "80 GB of memory, 90 GB are needed"),
        ({"gpu_count": 16}, "at most 8 GPUs"),
        ({"clouds": ("COMMUNITY",)}, "cloud SECURE"),
        ({"data_centers": ("B",)}, "the volume lies in B"),
        ({"gpu_count": 2, "max_usd_per_hour": 4}, "$4.78/h, at most $4/h was agreed to"),
    ],
)
def test_what_does_not_fit_is_left_out_with_the_reason(wish: dict[str, object], why: str) -> None:
    found = choose([offer()], Wish.model_validate({"market": "on_demand", **wish}), ())
    assert found.candidates == ()
    assert why in found.left_out[0]
    error = none_fits(found)
    assert error is not None
    assert why in error.message


@given(st.lists(offers, max_size=8), st.lists(failures, max_size=5))
def test_every_offer_is_a_candidate_or_left_out_and_the_order_does_not_depend_on_the_input(
    found: list[Offer], failed: list[Place]
) -> None:
    wish = Wish(market=Market.on_demand, memory_gb=60)
    choice = choose(found, wish, failed)
    taken = [c.offer for c in choice.candidates]
    assert all(o.stock != "none" and o.market == "on_demand" and o.memory_gb == 80 for o in taken)
    left = {o.place for o in found if o not in taken}
    assert left <= {line.partition(": ")[0] for line in choice.left_out}
    again = choose(found[::-1], wish, failed[::-1])
    assert [c.reason for c in again.candidates] == [c.reason for c in choice.candidates]
    worst = {f.name: 1 + max(g.mute for g in failed if g.name == f.name) for f in failed}
    blamed = [worst.get((o.data_center, o.gpu), 0) for o in taken]
    assert blamed == sorted(blamed)
    prices = [o.usd_per_hour for o, bad in zip(taken, blamed, strict=True) if not bad]
    assert prices == sorted(prices)


def test_the_same_refusal_everywhere_is_a_broken_request_but_never_a_lack_of_machines() -> None:
    rule = [Refused(f"x {n}", said="disk too large", broken=True) for n in range(2)]
    full = [Refused(f"x {n}", said="no instances", broken=False) for n in range(2)]
    assert type(all_refused(rule)) is ConfigurationError
    assert type(all_refused(full)) is CapacityError
    assert type(all_refused(rule[:1])) is CapacityError
    assert type(all_refused(rule[:1], ALONE - 2)) is CapacityError
    assert type(all_refused(rule[:1], ALONE - 1)) is ConfigurationError
    assert type(all_refused(full[:1], ALONE)) is CapacityError
    assert type(all_refused([*rule, *full])) is CapacityError


def test_a_key_that_may_rent_nowhere_is_told_and_not_waited_for() -> None:
    no = '{"title": "Forbidden", "status": 403, "detail": "access denied"}'
    every = [failure("POST /v2/pods", 403, {}, no, creates=True) for _ in range(2)]
    found = all_refused([error for error in every if isinstance(error, Refused)])
    assert type(found) is ConfigurationError
    assert "the key may not use this pool" in found.cause
    assert "give the key access" in found.fix


def test_without_a_market_nothing_is_missing() -> None:
    assert none_fits(None) is None
    assert none_fits(choose([offer(Decimal("1"))], WISH, ())) is None
