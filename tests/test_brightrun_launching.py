"""Renting a job's pod at the fake RunPod: written down before each call, one pod at most."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.runpod import Mischief
from runpod_rentals import (
    IMAGE,
    SECRETS,
    account,
    cost,
    estimate,
    job_on,
    notes,
    provider,
    row,
    two_places,
)

from brightrun.attempts import release, rent, start_afresh
from brightrun.compute.provider import LaunchRequest, Pod
from brightrun.compute.runpod.pods import Place
from brightrun.compute.runpod.problems import BalanceEmpty
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.context import JobContext
from brightrun.errors import CapacityError, ConfigurationError
from brightrun.jobs import Market
from brightrun.launching import launch
from brightrun.ledger import AttemptRow
from brightrun.podenv import limits
from brightrun.runfolder import EventType
from brightrun.situation import Action
from brightrun.situation import Place as Spot


def everything_written(job: JobContext) -> str:
    files = [p for p in Path(job.folder.local_path()).rglob("*") if p.is_file()]
    events = [e.payload for e in job.ledger.events("job-1")]
    return "".join(p.read_text() for p in files) + json.dumps(events) + repr(row(job))


def test_the_row_says_where_and_for_how_much_before_each_call(home: Path) -> None:
    asked: list[tuple[str, str, Decimal]] = []
    with account(market=two_places(), mischief=Mischief({"create": ["capacity"] * 2})) as fake:
        rents = provider(fake)
        job = job_on(home, rents)

        class Watched(RunPodProvider):
            def launch(self, request: LaunchRequest) -> Pod:
                written = row(job)
                assert request.offer is not None
                assert (written.data_center, written.gpu) == (
                    request.offer.data_center, request.offer.gpu,
                )  # fmt: skip
                assert request.name == written.pod_name
                asked.append((written.data_center, written.gpu, written.usd_per_hour))
                fake.clock.sleep(5)
                return super().launch(request)

        rents.__class__ = Watched
        attempt = launch(job)
        assert [place for place, _, _ in asked] == ["EU-RO-1", "US-KS-2", "US-CA-2"]
        assert attempt.usd_per_hour == asked[-1][2] == Decimal("2.99")
        assert attempt.pod_id in fake.account.pods
        launched = job.folder.read_json("attempts/1/launch.json")
        assert (launched["data_center"], launched["price"]["usd_per_hour"]) == ("US-CA-2", 2.99)
        assert len(job.ledger.attempts("job-1")) == 1
        assert job.ledger.cost_so_far("job-1", fake.clock.now()) < Decimal("0.005")
        said = notes(job, "choice")
    assert "H100 80GB PCIe in EU-RO-1 (secure, on_demand): 1. of 3: $2.39/h, stock high" in said[0]
    assert len(said) == 4
    assert said[-1] == "pod 1: rented after 5.0 s, it starts"
    assert len(notes(job, "warning")) == 2


def test_the_pod_gets_its_own_credentials_and_nothing_else_holds_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGHTRUN_RUNPOD_API_KEY", "account-key")
    monkeypatch.setenv("BRIGHTRUN_SLACK_TOKEN", "slack-token")
    with account(mischief=Mischief({"create": ["capacity"]})) as fake:
        job = job_on(home, provider(fake), **SECRETS, pod_storage_endpoint="https://s3.example")
        launch(job)
        (pod,) = fake.account.pods.values()
    told = pod.wanted["env"]
    assert told["AWS_SECRET_ACCESS_KEY"] == "s3cret-of-pods"
    assert told["AWS_ENDPOINT_URL"] == "https://s3.example"
    assert told["STORAGE_URL"] == (home / "storage").as_uri()
    assert not {"account-key", "slack-token"} & set(told.values())
    assert "s3cret-of-pods" not in everything_written(job)


def test_candidates_that_all_say_no_are_no_capacity_and_cost_nothing(home: Path) -> None:
    with account(market=two_places(), mischief=Mischief({"create": ["capacity"] * 9})) as fake:
        job = job_on(home, provider(fake))
        with pytest.raises(CapacityError, match="3 candidates refused"):
            launch(job)
        assert fake.account.alive() == []
    assert (row(job).outcome, row(job).cost_usd) == ("lost:never started", 0)


def test_a_rule_that_every_candidate_refuses_in_the_same_words_is_our_mistake(home: Path) -> None:
    with account(market=two_places()) as fake:
        place = Place(image=IMAGE, volume="vol1")
        rents = provider(fake, place)
        job = job_on(home, rents)
        fake.account.volumes["vol1"] = "NOWHERE-1"
        rents.data_center = lambda: ""  # type: ignore[method-assign]
        rents.unready = lambda request: ()  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError, match="all 3 candidates refused in the same words"):
            launch(job)
    assert row(job).outcome == "lost:never started"


@pytest.mark.parametrize("between", ["", "capacity"])
def test_the_only_candidate_that_refuses_in_the_same_words_is_not_asked_for_a_day(
    home: Path, between: str
) -> None:
    """The key may not rent and a volume pins the place; other words begin the count anew."""
    script = ["forbidden"] * 7 + ([between] if between else []) + ["forbidden"] * 9
    with account(market=two_places(), mischief=Mischief({"create": script})) as fake:
        fake.account.volumes["vol1"] = "US-KS-2"
        job = job_on(home, provider(fake, Place(image=IMAGE, volume="vol1")))
        with pytest.raises(ConfigurationError, match="only candidate refused 8 times in the same"):
            rent(job)
        assert len(job.ledger.attempts("job-1")) == (16 if between else 8)
        assert fake.clock.passed < (4 if between else 1) * 3600
        start_afresh(job)  # a person mends the key and goes on; the count begins anew
        fake.account.mischief.script["create"] = ["forbidden"] * 2
        assert isinstance(rent(job), AttemptRow)


def test_no_credit_stops_at_the_first_candidate(home: Path) -> None:
    with account(market=two_places(), mischief=Mischief({"create": ["balance"]})) as fake:
        job = job_on(home, provider(fake))
        with pytest.raises(BalanceEmpty):
            launch(job)
        assert len(notes(job, "choice")) == 1
    assert row(job).outcome == "lost:never started"


def test_what_is_dearer_than_agreed_or_another_gpu_is_left_out_and_said(home: Path) -> None:
    with account(market=two_places()) as fake:
        job = job_on(home, provider(fake))
        job.folder.write_json("estimate.json", estimate(1.5))
        with pytest.raises(CapacityError, match="no offer fits") as caught:
            launch(job)
    assert "$2.39/h, at most $1.95/h was agreed to" in caught.value.message
    assert "A100 80GB in US-KS-2 (secure, on_demand): another GPU than wished" in str(caught.value)
    assert (row(job).outcome, row(job).data_center) == ("lost:never started", "")


def test_the_market_of_the_next_pod_is_recoverys_and_its_places_come_last(home: Path) -> None:
    with account() as fake:
        job = job_on(home, provider(fake))
        spot = [{"market": "spot", "offered": True, "price": {"usd_per_hour": 1.25}}]
        job.folder.write_json("estimate.json", estimate(markets=spot))
        avoid = (Spot(data_center="EU-RO-1", gpu="NVIDIA H100 PCIe"),)
        action = Action(do="launch", why="switch", market=Market.spot, avoid=avoid)
        attempt = launch(job, action)
        assert (attempt.market, attempt.data_center) == ("spot", "US-KS-2")
        assert attempt.usd_per_hour == Decimal("1.25")
        assert fake.account.pods[attempt.pod_id].market == "spot"


def test_a_volume_pins_the_place(home: Path) -> None:
    with account(market=two_places()) as fake:
        fake.account.volumes["vol1"] = "US-KS-2"
        job = job_on(home, provider(fake, Place(image=IMAGE, volume="vol1")))
        assert launch(job).data_center == "US-KS-2"
        assert "where the volume is" in notes(job, "choice")[0]


def test_a_place_where_a_pod_never_booted_is_the_last_choice_of_every_job(home: Path) -> None:
    with account(mischief=Mischief({"pod": ["provisioning_forever"]})) as fake:
        job = job_on(home, provider(fake))
        first = launch(job)
        fake.clock.sleep(600)
        release(job, first)
        assert row(job).outcome == "lost:never booted"
        assert cost(job) > Decimal("0.39")
        second = launch(job)
        assert (first.data_center, second.data_center) == ("EU-RO-1", "US-KS-2")
        fake.clock.sleep(timedelta(hours=7).total_seconds())
        release(job, second)
        assert launch(job).data_center == "EU-RO-1"


def test_an_api_that_is_away_is_no_free_machine(home: Path) -> None:
    with account(mischief=Mischief({"read": ["read_500"] * 4})) as fake:
        job = job_on(home, provider(fake))
        with pytest.raises(CapacityError, match="RunPod failed"):
            launch(job)
    assert row(job).outcome == "lost:never started"


def test_a_rented_pod_is_in_the_books_before_it_is_told(home: Path) -> None:
    with account() as fake:
        job = job_on(home, provider(fake))
        note = job.note

        def broken(type_: EventType, payload: dict[str, Any]) -> None:
            if "rented after" in str(payload.get("message")):
                raise ZeroDivisionError
            note(type_, payload)

        vars(job)["note"] = broken
        with pytest.raises(ZeroDivisionError):
            launch(job)
        (pod_id,) = fake.account.pods
        assert row(job).pod_id == pod_id


def test_a_pod_knows_how_long_the_money_lasts_where_it_is_rented(home: Path) -> None:
    with account(market=two_places(), mischief=Mischief({"create": ["capacity"] * 2})) as fake:
        job = job_on(home, provider(fake))
        job.ledger.update_job("job-1", hard_limit_usd=Decimal("29.90"))
        launch(job)
        (pod,) = fake.account.pods.values()
        assert float(pod.wanted["env"]["BRIGHTRUN_LIMIT_HOURS"]) == pytest.approx(10.0)
        job.ledger.update_job("job-1", hard_limit_usd=None)
        assert limits(job, Decimal("2.99")) == {"BRIGHTRUN_LIMIT_HOURS": "72.000000"}
