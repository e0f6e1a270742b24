"""Renting a job's pod at the fake RunPod: written down before each call, one pod at most."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import FastClock, ManualClock
from fakes.registry import registry
from fakes.runpod import FakeRunPod, Mischief
from fakes.runpod.bill import Bill
from fakes.runpod.market import GpuKind
from fakes.runpod.market import Market as Stock
from faulty_storage import ORDERS, break_storage, mend_storage
from pydantic import SecretStr
from runpod_rentals import IMAGE, account, estimate, heartbeats, job_on, provider

from brightrun import preflight
from brightrun.attempts import live_attempt, release, rent, settle_open_attempts, train_once
from brightrun.compute.provider import Doubtful, LaunchRequest, Pod
from brightrun.compute.runpod.client import TRIES
from brightrun.compute.runpod.pods import Place
from brightrun.compute.runpod.problems import BalanceEmpty, failure
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.context import JobContext
from brightrun.errors import (
    CapacityError,
    ConfigurationError,
    ProviderError,
    SpotInterrupted,
    StorageError,
)
from brightrun.jobs import Market
from brightrun.launching import launch
from brightrun.ledger import AttemptRow
from brightrun.podenv import limits
from brightrun.runfolder import EventType
from brightrun.situation import Action
from brightrun.situation import Place as Spot

SECRETS = {"pod_storage_key_id": "AKpod", "pod_storage_secret": "s3cret-of-pods"}


def kind(gpu: str, price: float, **stock: int) -> GpuKind:
    places = {name.replace("_", "-"): n for name, n in stock.items()}
    return GpuKind(gpu, 80, price, 0.0, None, places)


def two_places() -> Stock:
    """PCIe in two places and, dearer, SXM."""
    return Stock(
        [
            kind("NVIDIA H100 PCIe", 2.39, US_KS_2=3, EU_RO_1=6),
            kind("NVIDIA H100 80GB HBM3", 2.99, US_CA_2=8),
            kind("NVIDIA A100 80GB PCIe", 1.64, US_KS_2=2),
        ]
    )


def row(job: JobContext, number: int = 1) -> AttemptRow:
    return job.ledger.attempts("job-1")[number - 1]


def cost(job: JobContext, number: int = 1) -> Decimal:
    usd = row(job, number).cost_usd
    assert usd is not None
    return usd


def notes(job: JobContext, type_: str) -> list[str]:
    return [str(e.payload["message"]) for e in job.ledger.events("job-1", 0, type_)]


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


@pytest.mark.parametrize("lag", [0.0, 30.0])
@pytest.mark.parametrize("fault", ["create_500", "create_dropped", "create_html"])
def test_a_lost_answer_is_one_attempt_and_one_pod(home: Path, fault: str, lag: float) -> None:
    with account(mischief=Mischief({"create": [fault]})) as fake:
        fake.account.lag_s = lag
        job = job_on(home, provider(fake))
        attempt = launch(job)
        assert fake.account.alive() == [attempt.pod_name]
        release(job, attempt)
        assert fake.account.alive() == []
        (line,) = fake.account.bill.lines.values()
        bill = Decimal(line.gpu_micro(fake.clock.now())) / 10**6
    assert row(job).outcome == "lost:never booted"
    # Never less than the bill; a list that forgets late makes the pod look longer-lived.
    assert 0 <= cost(job) - bill < Decimal("0.01") + Decimal(lag) * 2 * Decimal("2.39") / 3600


def test_a_doubt_without_a_pod_is_settled_before_the_next_one_is_rented(home: Path) -> None:
    with account(mischief=Mischief({"create": ["refused_500"]})) as fake:
        job = job_on(home, provider(fake))
        with pytest.raises(Doubtful):
            launch(job)
        assert row(job).ended_at is None
        settle_open_attempts(job)
        assert (row(job).outcome, row(job).cost_usd) == ("lost:never started", 0)
        fake.clock.sleep(60)
        second = launch(job)
        assert second.number == 2
        assert fake.account.alive() == [second.pod_name]


def test_a_pod_that_appears_after_the_doubt_is_ended_and_paid(home: Path) -> None:
    with account(mischief=Mischief({"create": ["create_500"]})) as fake:
        fake.account.lag_s = 120.0
        job = job_on(home, provider(fake))
        with pytest.raises(Doubtful):
            launch(job)
        fake.clock.sleep(60)
        settle_open_attempts(job)
        assert fake.account.alive() == []
        (line,) = fake.account.bill.lines.values()
        bill = Decimal(line.gpu_micro(fake.clock.now())) / 10**6
    assert row(job).outcome == "lost:never booted"
    assert 0 <= cost(job) - bill < Decimal("0.2")


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


def test_another_driver_adopts_the_pod_whatever_its_state(home: Path) -> None:
    with account() as fake:
        fake.account.machines.boot_s = 300.0
        job = job_on(home, provider(fake))
        attempt = launch(job)
        other = job_again(job, provider(fake))
        found = live_attempt(other)
        assert found is not None
        assert found.pod_name == attempt.pod_name
        assert other.lease_seconds == 900


def test_a_driver_that_starts_while_the_api_is_away_waits_and_adopts(home: Path) -> None:
    with account() as fake:
        job = job_on(home, provider(fake))
        launch(job)
        other = job_again(job, provider(fake))
        fake.account.mischief.script["read"] = ["read_500"] * 12
        assert live_attempt(other) is not None
        fake.account.mischief.script["read"] = ["read_html"] * 999
        with pytest.raises(ProviderError):
            live_attempt(other)
        assert len(fake.account.alive()) == 1


def job_again(job: JobContext, rents: RunPodProvider) -> JobContext:
    """The same job in another process, which remembers nothing."""
    other = JobContext(job.settings, job.ledger, job.job_id)
    vars(other).update(provider=rents, clock=rents.clock)
    return other


def test_a_pod_that_cannot_be_ended_keeps_its_books_open(home: Path) -> None:
    with account(mischief=Mischief({"delete": ["delete_ignored"] * 99})) as fake:
        job = job_on(home, provider(fake))
        attempt = launch(job)
        assert not release(job, attempt)
        assert [a.outcome for a in job.ledger.open_attempts()] == ["stop_failed"]
        assert attempt.pod_name in notes(job, "error")[0]
        fake.account.mischief.script.clear()
        settle_open_attempts(job)
    assert job.ledger.open_attempts() == ()


def test_a_wrong_key_is_told_at_once_and_not_waited_for(home: Path) -> None:
    with account() as fake:
        rents = provider(fake)
        rents.rest._key = SecretStr("wrong")
        job = job_on(home, rents)
        with pytest.raises(ConfigurationError, match="invalid bearer token"):
            rent(job)
    assert job.ledger.attempts("job-1") == ()


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


# --- preflight ----------------------------------------------------------------------------------
def refusal(job: JobContext) -> str:
    with pytest.raises(ConfigurationError, match="cannot be sent to runpod yet") as caught:
        launch(job)
    assert job.ledger.attempts("job-1") == ()
    return caught.value.message


def test_everything_that_stands_in_the_way_is_told_at_once_and_nothing_is_rented(
    home: Path,
) -> None:
    with account(bill=Bill(credit_micro=9_000_000)) as fake:
        fake.account.volumes["vol1"] = "US-KS-2"
        job = job_on(home, provider(fake, Place(image="trainer:latest", volume="none")))
        job.folder.write_json("estimate.json", estimate(vram_gb=80.0))
        job.ledger.update_job("job-1", hard_limit_usd=Decimal(3))
        vars(job)["spec"] = job.spec.model_copy(
            update={"base_model": job.spec.base_model.model_copy(update={"name": "org/m"})}
        )
        told = refusal(job)
        assert fake.account.pods == {}
    for words in (
        "org/m is not pinned to a revision", "not named by digest", "no network volume 'none'",
        "$9.00 of credit", "add $5.00", "$3.00 of the job's limit are left",
    ):  # fmt: skip
        assert words in told
    assert told.count("\n  - ") == 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pod_storage_url": ""}, "a folder of this machine"),
        ({"pod_storage_url": "s3://bucket"}, "no storage credentials for pods"),
        ({"pod_storage_url": "file:///proc/nowhere"}, "cannot write, read and remove"),
        pytest.param(
            {"pod_storage_url": "s3://b", "pod_storage_endpoint": "http://127.0.0.1:9", **SECRETS},
            "cannot write, read and remove",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_storage_is_tried_with_the_pods_own_credentials(
    home: Path, settings: dict[str, Any], words: str
) -> None:
    with account() as fake:
        told = refusal(job_on(home, provider(fake), **settings))
    assert words in told
    assert "s3cret" not in told


def job_with_broken_storage(home: Path, rents: RunPodProvider, error: str) -> JobContext:
    """Only the pods' storage fails; ours, where the job is planned, answers."""
    place = home / "pods-storage"
    job = job_on(home, rents, pod_storage_url=f"faulty://{place}")
    place.mkdir()
    break_storage(place, error)
    return job


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("full", "No space left on device"),
        ("QuotaExceeded", "the server says QuotaExceeded"),
        ("InvalidAccessKeyId", "the storage refuses access"),
        ("NoSuchBucket", "the bucket or folder of the run does not exist"),
    ],
)
def test_a_storage_that_no_wait_mends_is_refused_at_once(
    home: Path, error: str, words: str
) -> None:
    with account() as fake:
        job = job_with_broken_storage(home, provider(fake), error)
        before = fake.clock.monotonic()
        with pytest.raises(ConfigurationError, match=words) as told:
            rent(job)
        assert fake.clock.monotonic() == before
        assert fake.account.pods == {}
    assert "credentials" not in str(told.value)


class Mending(ManualClock):
    """The storage is back after so many seconds."""

    def __init__(self, storage: Path, seconds: float) -> None:
        super().__init__()
        self.storage, self.back = storage, self.monotonic() + seconds

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.monotonic() >= self.back and (self.storage / ORDERS).exists():
            mend_storage(self.storage)


def test_a_storage_that_is_away_at_launch_is_waited_for_and_told(home: Path) -> None:
    with account(Mending(home / "pods-storage", 300.0)) as fake:
        job = job_with_broken_storage(home, provider(fake), "unreachable")
        found = rent(job)
        assert isinstance(found, AttemptRow)
        assert fake.account.alive() == [found.pod_name]
    began, ended = notes(job, "warning")
    assert "asked again for up to 10 minutes: a pod cannot write, read and remove in" in began
    assert re.search(r"did not answer for 3\d\d s: .*the storage cannot be reached", ended)
    assert found.number == 1


def test_a_storage_that_stays_away_at_launch_ends_the_job_and_nothing_was_rented(
    home: Path,
) -> None:
    with account() as fake:
        job = job_with_broken_storage(home, provider(fake), "unreachable")
        with pytest.raises(StorageError, match="a pod cannot write, read and remove"):
            rent(job)
        assert fake.account.pods == {}
    assert job.ledger.attempts("job-1") == ()


def test_what_else_is_wrong_does_not_wait_for_a_storage_that_is_away(home: Path) -> None:
    with account() as fake:
        job = job_with_broken_storage(home, provider(fake), "unreachable")
        job.ledger.update_job("job-1", hard_limit_usd=Decimal(3))
        told = refusal(job)
    assert "$3.00 of the job's limit are left" in told
    assert "the storage cannot be reached" in told


def test_an_api_that_is_away_in_the_midst_of_preflight_is_no_free_machine(home: Path) -> None:
    with account() as fake:
        fake.account.volumes["vol1"] = "US-KS-2"
        rents = provider(fake, Place(image=IMAGE, volume="vol1"))
        unready = rents.unready

        def away(request: LaunchRequest) -> tuple[str, ...]:
            fake.account.mischief.script["read"] = ["read_500"] * TRIES
            return unready(request)

        rents.unready = away  # type: ignore[method-assign]
        job = job_on(home, rents)
        with pytest.raises(CapacityError, match="RunPod failed"):
            launch(job)
        rents.unready = unready  # type: ignore[method-assign]
        assert launch(job).number == 2
    assert row(job).outcome == "lost:never started"


def test_a_key_that_may_not_read_the_volume_is_told_at_once(home: Path) -> None:
    with account() as fake:
        rents = provider(fake, Place(image=IMAGE, volume="vol1"))
        get = rents.rest.get

        def denied(path: str, *words: Any, **more: Any) -> Any:
            if "network-volumes" in path:
                raise failure(f"GET {path}", 403, {}, '{"detail": "forbidden"}')
            return get(path, *words, **more)

        rents.rest.get = denied  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError, match="forbidden"):
            rent(job_on(home, rents))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("brightrun/elsewhere-", "the registry has no image"),
        ("brightrun/private", "does not give"),
    ],
)
def test_an_image_that_a_pod_could_not_pull_is_found_before_one_is_rented(
    home: Path, name: str, words: str
) -> None:
    digest = "sha256:" + ("b" if name.endswith("-") else "a") * 64
    with account() as fake, registry() as images:
        job = job_on(home, provider(fake), runpod_image=images.image(name, digest))
        assert words in refusal(job)
        assert fake.account.pods == {}


def test_what_cannot_be_known_from_here_is_said_and_does_not_stop(home: Path) -> None:
    with account() as fake:
        image = "127.0.0.1:9/brightrun/trainer@sha256:" + "a" * 64
        job = job_on(home, provider(fake), runpod_image=image)
        launch(job)
        (said,) = [note for note in notes(job, "warning") if "can be pulled" in note]
        assert "ConnectError" in said
        preflight.doubt(job, said)
        assert notes(job, "warning").count(said) == 1


def test_what_no_machine_is_needed_for_is_looked_at_before_the_wait_for_one(home: Path) -> None:
    with account(market=Stock([kind("NVIDIA H100 PCIe", 2.39, US_KS_2=0)])) as fake:
        job = job_on(home, provider(fake))
        job.ledger.update_job("job-1", hard_limit_usd=Decimal(3))
        assert "$3.00 of the job's limit are left" in refusal(job)


def test_an_unknown_balance_is_said_and_does_not_stop(home: Path) -> None:
    with account() as fake:
        rents = provider(fake)
        rents.balance = lambda: None  # type: ignore[method-assign]
        job = job_on(home, rents)
        launch(job)
        assert any("balance is not known" in note for note in notes(job, "warning"))


def test_only_the_first_pod_is_looked_at_beforehand(home: Path) -> None:
    with account() as fake:
        job = job_on(home, provider(fake))
        release(job, launch(job))
        job.ledger.update_job("job-1", hard_limit_usd=Decimal(0))
        assert launch(job).number == 2


# --- with pods that live ------------------------------------------------------------------------
@pytest.fixture
def brisk() -> FastClock:
    """A hundred times as fast, for us and for RunPod."""
    return FastClock(100.0)


def watched(home: Path, rents: RunPodProvider) -> JobContext:
    """The job on fast clocks: deadlines of silence would strike a pod that starts in real time."""
    rents.manners = rents.manners.model_copy(
        update={"look_every_s": 5.0, "second_look_s": 5.0, "boot_deadline_s": 6000.0}
    )
    return job_on(home, rents, heartbeat_stale_seconds=6000)


def drive(job: JobContext, on_tick: Callable[[int], None] = lambda attempt: None) -> Any:
    return train_once(job, on_tick)


def steps(environment: dict[str, str], number: int = 3) -> Any:
    command, told = heartbeats(environment)
    return command, {**told, "POD_STEPS": str(number)}


def test_a_pod_at_runpod_runs_to_its_end_and_is_gone_afterwards(
    home: Path, brisk: FastClock
) -> None:
    with account(brisk, entry=steps) as fake:
        job = watched(home, provider(fake))
        assert drive(job)["adapter_sha256"] == "abc"
        assert fake.account.alive() == []
        (line,) = fake.account.bill.lines.values()
        bill = Decimal(line.gpu_micro(fake.clock.now())) / 10**6
    assert row(job).outcome == "done"
    assert cost(job) >= bill
    assert row(job).started_at is not None


def interrupt(fake: FakeRunPod) -> Callable[[int], None]:
    def on_tick(attempt: int) -> None:
        for name in fake.account.alive():
            fake.account.machines.kill_after_s = 0.05
            fake.account.interrupt(name)

    return on_tick


@pytest.mark.parametrize("fault", ["error", "exits"])
def test_a_pod_that_ended_without_a_marker_is_lost(
    home: Path, brisk: FastClock, fault: str
) -> None:
    with account(brisk, mischief=Mischief({"pod": [fault]})) as fake:
        job = watched(home, provider(fake))
        before = time.monotonic()
        with pytest.raises(SpotInterrupted):
            drive(job)
        assert time.monotonic() - before < 5
        assert fake.account.alive() == []
    assert row(job).outcome == "lost:never booted"


def test_a_pod_that_was_taken_away_is_lost(home: Path, brisk: FastClock) -> None:
    with account(brisk, entry=heartbeats) as fake:
        job = watched(home, provider(fake))
        with pytest.raises(SpotInterrupted):
            drive(job, interrupt(fake))
        assert fake.account.alive() == []


def test_while_the_api_is_away_a_pod_that_gives_signs_is_not_lost(
    home: Path, brisk: FastClock
) -> None:
    with account(brisk, entry=lambda env: steps(env, 20)) as fake:
        job = watched(home, provider(fake))

        def away(attempt: int) -> None:  # for every try of both looks at a pod
            fake.account.mischief.script["read"] = ["read_500"] * 2 * TRIES

        assert drive(job, away)["steps"] == 20
        assert fake.account.mischief.done["read_500"] >= 2 * TRIES
    assert [a.outcome for a in job.ledger.attempts("job-1")] == ["done"]


def test_a_cancel_ends_the_wait_for_a_machine(home: Path, brisk: FastClock) -> None:
    with account(brisk, market=Stock([kind("NVIDIA H100 PCIe", 2.39)])) as fake:
        job = watched(home, provider(fake))
        with pytest.raises(CapacityError):
            launch(job)
        job.folder.request_stop("cancel", "Ann")
        found = rent(job)
    assert isinstance(found, Action)
    assert found.do == "cancelled"


def test_a_pod_knows_how_long_the_money_lasts_where_it_is_rented(home: Path) -> None:
    with account(market=two_places(), mischief=Mischief({"create": ["capacity"] * 2})) as fake:
        job = job_on(home, provider(fake))
        job.ledger.update_job("job-1", hard_limit_usd=Decimal("29.90"))
        launch(job)
        (pod,) = fake.account.pods.values()
        assert float(pod.wanted["env"]["BRIGHTRUN_LIMIT_HOURS"]) == pytest.approx(10.0)
        job.ledger.update_job("job-1", hard_limit_usd=None)
        assert limits(job, Decimal("2.99")) == {"BRIGHTRUN_LIMIT_HOURS": "72.000000"}
