"""Requests and the fake's answers are judged by RunPod's own API description."""

from __future__ import annotations

import pytest
from fakes.runpod import Contract, FakeRunPod, Mischief
from fakes.runpod.contract import PLACE
from runpod_rentals import IMAGE, account, offer, provider, wanted

from brightrun.compute.ending import make_gone
from brightrun.compute.provider import Offer, Refused
from brightrun.compute.runpod.pods import Place, body
from brightrun.compute.runpod.problems import Denied

NAME = "br-job-1-1-abc"


def creates(fake: FakeRunPod) -> int:
    return sum(m == "POST" and p == "/v2/pods" for m, p, _ in fake.requests)


needs_contract = pytest.mark.skipif(
    not PLACE.exists(), reason=f"RunPod's OpenAPI file is not here ({PLACE})"
)


@needs_contract
def test_a_request_that_breaks_the_contract_is_a_422_that_names_our_fault() -> None:
    with account() as fake:
        rents = provider(fake)
        broken = {**body(wanted(offer(rents)), offer(rents), rents.place), "bogus": 1}
        with pytest.raises(Denied, match=r"422 .*bogus.*request \w+"):
            rents.rest.create("/v2/pods", broken)
        with pytest.raises(Denied, match="422"):
            rents.rest.get("/v2/catalog/gpus", {"include": "EVERYTHING"})
        assert creates(fake) == 1


@needs_contract
def test_what_the_fake_answers_is_judged_by_the_contract() -> None:
    judge = Contract.load()
    assert judge is not None
    with pytest.raises(AssertionError, match="pods"):
        judge.judge("GET", "/v2/pods", 200, "application/json", {"pods": [{"id": "x"}]})
    with pytest.raises(AssertionError, match="text/html"):
        judge.judge("GET", "/v2/pods", 500, "text/html", None)
    with pytest.raises(AssertionError, match="knows no PATCH /v2/pods"):
        judge.judge("PATCH", "/v2/pods", 200, "application/json", {})
    assert judge.header_errors("RateLimit", '"minute";r=0;t=2') == []


@needs_contract
def test_parameters_are_judged_where_they_are_declared_and_by_reference() -> None:
    judge = Contract.load()
    assert judge is not None

    def errors(path: str, **query: str) -> list[str]:
        return judge.request_errors("GET", path, query, None)

    assert errors("/v2/pods", includeClusterPods="true") == []
    (inline,) = errors("/v2/pods", includeClusterPods="perhaps")
    assert "'perhaps' is not of type 'boolean'" in inline
    (referenced,) = errors("/v2/catalog/gpus", include="EVERYTHING")
    assert "'EVERYTHING' is not one of" in referenced
    assert errors("/v2/pods", colour="red") == ["query: colour is not known"]


@needs_contract
def test_the_tests_walk_the_whole_part_of_the_contract_that_we_use() -> None:
    mischief = Mischief({"read": ["rate_limit"], "create": ["capacity", ""]})
    with account(mischief=mischief) as fake:
        rents = provider(fake, Place(image=IMAGE, volume="vol1"))
        fake.account.volumes["vol1"] = "US-KS-2"
        taken: Offer = next(o for o in rents.offers() if o.data_center == "US-KS-2")
        with pytest.raises(Refused):
            rents.launch(wanted(taken))
        pod = rents.launch(wanted(taken))
        rents.unready(wanted(taken))
        rents.rest.get(f"/v2/pods/{pod.provider_id}")
        rents.rest.get("/v2/billing/pods", {"lastN": 2})
        make_gone(rents, NAME, fake.clock)
        assert fake.contract is not None
        assert fake.contract.seen >= {
            ("GET", "/v2/catalog/gpus", 200), ("GET", "/v2/catalog/gpus", 429),
            ("POST", "/v2/pods", 201), ("POST", "/v2/pods", 400), ("GET", "/v2/pods", 200),
            ("GET", "/v2/pods/{id}", 200), ("DELETE", "/v2/pods/{id}", 204),
            ("GET", "/v2/network-volumes/{id}", 200), ("GET", "/v2/billing/pods", 200),
        }  # fmt: skip
