"""Renting from the fake RunPod: one pod per name whatever the answer was, and none left behind."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest
from fakes.clock import ManualClock
from fakes.runpod import FakeRunPod, Mischief
from fakes.runpod.mischief import CREATE, DELETE, POD, READ
from runpod_rentals import IMAGE, account, offer, provider, wanted

from brightrun.compute.ending import make_gone
from brightrun.compute.provider import Doubtful, Refused
from brightrun.compute.runpod.pods import Place, allowed_cuda, pod_of
from brightrun.compute.runpod.problems import Away, BalanceEmpty
from brightrun.errors import (
    BudgetError,
    CapacityError,
    ConfigurationError,
    ProviderError,
    StopFailed,
)
from brightrun.jobs import Market

NAME = "br-job-1-1-abc"


def creates(fake: FakeRunPod) -> int:
    return sum(m == "POST" and p == "/v2/pods" for m, p, _ in fake.requests)


def test_a_launch_asks_for_what_was_chosen_and_nothing_open() -> None:
    place = Place(image=IMAGE, volume="vol1", min_cuda="12.8", registry="reg1", models="/m")
    with account() as fake:
        fake.account.volumes["vol1"] = "US-KS-2"
        rents = provider(fake, place)
        taken = next(o for o in rents.offers() if o.data_center == "US-KS-2")
        pod = rents.launch(wanted(taken, AWS_SECRET_ACCESS_KEY="s3cret"))
        assert (pod.name, pod.data_center, pod.usd_per_hour) == (NAME, "US-KS-2", Decimal("2.39"))
        assert pod.created_at == fake.clock.now()
        sent = next(b for m, p, b in fake.requests if (m, p) == ("POST", "/v2/pods"))
    assert sent["gpu"] == {"id": "NVIDIA H100 PCIe", "count": 1, "minCudaVersion": "12.8"}
    assert (sent["image"], sent["dataCenterIds"], sent["ports"]) == (IMAGE, ["US-KS-2"], [])
    assert sent["mounts"] == {"network": [{"volumeId": "vol1", "path": "/workspace"}]}
    assert sent["env"]["AWS_SECRET_ACCESS_KEY"] == "s3cret"
    assert sent["env"]["BRIGHTRUN_MODELS"] == "/m"
    assert sent["env"]["BRIGHTRUN_VOLUME"] == "/workspace"
    assert "s3cret" not in repr(pod)
    assert "s3cret" not in repr(wanted(taken, AWS_SECRET_ACCESS_KEY="s3cret"))


@pytest.mark.parametrize(
    ("least", "allowed"),
    [("", None), ("12.8", ["12.8", "12.9"]), ("12.9", ["12.9"]), ("13.0", ["13.0"])],
)
def test_a_spot_pod_gets_a_machine_with_the_least_cuda_too(
    least: str, allowed: list[str] | None
) -> None:
    with account() as fake:
        asked = wanted(offer(provider(fake), market="spot"))
        rents = provider(fake, Place(image=IMAGE, min_cuda=least))
        if least == "13.0":  # no machine has it
            with pytest.raises(Refused):
                rents.launch(asked)
        else:
            rents.launch(asked)
        (sent,) = (b["variables"]["input"] for _, _, b in fake.requests if "RentSpot" in str(b))
    assert sent.get("allowedCudaVersions") == allowed


def test_cuda_versions_are_compared_as_numbers() -> None:
    assert allowed_cuda(("12.9", "12.10", "11.8"), "12.9") == ["12.9", "12.10"]
    assert allowed_cuda((), "12.8") == ["12.8"]


@pytest.mark.parametrize("kind", ["create_500", "create_html", "create_dropped", "create_timeout"])
@pytest.mark.parametrize("market", ["on_demand", "spot"])
def test_a_pod_whose_create_was_not_answered_is_found_in_a_late_list(
    kind: str, market: str
) -> None:
    with account(mischief=Mischief({"create": [kind]}), hold_s=0.4) as fake:
        fake.account.lag_s = 30.0
        rents = provider(fake, create_seconds=0.1)
        pod = rents.launch(wanted(offer(rents, market=market)))
        assert pod.provider_id in fake.account.pods
        assert fake.account.alive() == [NAME]


def test_a_spot_pod_that_is_rented_and_not_shown_is_no_refusal() -> None:
    """What would be a definite no to a create says nothing of a pod that is there."""
    mischief = Mischief({"read": ["", *["rate_limit"] * 4]})
    with account(mischief=mischief) as fake:
        rents = provider(fake)
        pod = rents.launch(wanted(offer(rents, market="spot")))
        assert pod.provider_id in fake.account.pods
        assert fake.account.alive() == [NAME]
    assert mischief.script["read"] == []


def test_a_look_that_is_forbidden_is_no_refusal_of_the_create() -> None:
    mischief = Mischief({"create": ["create_500"], "read": ["", "forbidden"]})
    with account(mischief=mischief) as fake:
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        assert fake.account.alive() == [NAME]
        mischief.script["read"] = ["forbidden"]
        with pytest.raises(ProviderError, match="403"):
            rents.find(NAME)


def test_what_the_pod_is_to_have_and_is_not_there_is_told_at_once() -> None:
    clock = ManualClock()
    with account(clock) as fake:
        fake.account.volumes["vol1"] = "US-KS-2"
        rents = provider(fake, Place(image=IMAGE, volume="vol1"))
        taken = next(o for o in rents.offers() if o.data_center == "US-KS-2")
        fake.account.volumes.clear()
        with pytest.raises(ConfigurationError, match="network volume not found"):
            rents.launch(wanted(taken))
        assert fake.account.alive() == []
    assert clock.sleeps == []


def test_a_pod_on_the_second_page_of_a_list_is_not_gone() -> None:
    with account() as fake:
        fake.contract = None  # which knows no pages: others have met them
        fake.page_size = 2
        rents = provider(fake)
        taken = offer(rents)
        names = [f"br-job-{n}-1-abc" for n in range(3)]
        for name in names:
            rents.launch(wanted(taken, name))
        rents.ids.clear()
        assert sorted(pod.name for pod in rents.list("br-")) == names
        make_gone(rents, names[2], fake.clock)
        assert fake.account.alive() == names[:2]


def test_half_a_list_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    half = {"pods": [], "pagination": {"hasNextPage": True, "nextCursor": "x"}}
    with account() as fake:
        fake.contract = None
        monkeypatch.setattr(fake, "_page", lambda name, found, query: half)
        with pytest.raises(Away, match="a part of a list only"):
            provider(fake).find(NAME)


def test_without_a_pod_in_any_list_the_doubt_is_told_and_nothing_is_sent_again() -> None:
    clock = ManualClock()
    with account(clock, mischief=Mischief({"create": ["refused_500"]})) as fake:
        rents = provider(fake)
        with pytest.raises(Doubtful, match=f"may have started pod {NAME}"):
            rents.launch(wanted(offer(rents)))
        assert creates(fake) == 1
        assert fake.account.alive() == []
    assert sum(clock.sleeps) >= 90


def test_a_pod_that_appears_after_the_doubt_is_ended_by_its_name() -> None:
    with account(mischief=Mischief({"create": ["create_500"]})) as fake:
        fake.account.lag_s = 200.0
        rents = provider(fake)
        with pytest.raises(Doubtful):
            rents.launch(wanted(offer(rents)))
        assert fake.account.alive() == [NAME]
        fake.clock.sleep(200)
        make_gone(rents, NAME, fake.clock)
        assert fake.account.alive() == []


def test_no_list_at_all_leaves_the_doubt() -> None:
    mischief = Mischief({"create": ["create_500"], "read": ["", *["read_500"] * 99]})
    with account(mischief=mischief) as fake:
        rents = provider(fake)
        taken = offer(rents)
        with pytest.raises(Doubtful):
            rents.launch(wanted(taken))
        fake.account.mischief.script.clear()
        assert rents.find(NAME) is not None


@pytest.mark.parametrize(
    ("kind", "error"),
    [("capacity", Refused), ("forbidden", Refused), ("balance", BalanceEmpty)],
)
def test_a_definite_no_rents_nothing(kind: str, error: type[Exception]) -> None:
    with account(mischief=Mischief({"create": [kind]})) as fake:
        rents = provider(fake)
        with pytest.raises(error):
            rents.launch(wanted(offer(rents)))
        assert fake.account.alive() == []


def test_stock_runs_out() -> None:
    with account() as fake:
        rents = provider(fake)
        taken = next(
            o for o in rents.offers() if o.gpu.endswith("HBM3") and o.data_center == "US-KS-2"
        )
        rents.launch(wanted(taken, "br-a-1-x"))
        with pytest.raises(Refused, match="no longer any instances"):
            rents.launch(wanted(taken, "br-b-1-x"))
        assert taken.data_center not in {
            o.data_center for o in rents.offers() if o.gpu == taken.gpu
        }
        rents.terminate("br-a-1-x")
        rents.launch(wanted(taken, "br-c-1-x"))


def test_a_new_pod_is_found_by_its_id_before_any_list_shows_it() -> None:
    with account() as fake:
        fake.account.lag_s = 30.0
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        assert rents.list("br-job-1-") == []
        found = rents.find(NAME)
        assert found is not None
        assert found.state == "running"
        assert rents.find("br-other") is None


@pytest.mark.parametrize(
    ("fault", "state", "note"),
    [
        ("provisioning_forever", "starting", "PROVISIONING"),
        ("error", "ended", "ERROR"),
        ("exits", "ended", "EXITED"),
    ],
)
def test_what_becomes_of_a_pod_is_seen(fault: str, state: str, note: str) -> None:
    with account(mischief=Mischief({"pod": [fault]})) as fake:
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        fake.clock.sleep(600)
        found = rents.find(NAME)
        assert found is not None
        assert (found.state, found.note) == (state, note)
        make_gone(rents, NAME, fake.clock)
        assert rents.find(NAME) is None


def test_a_pod_boots_and_a_status_nobody_knows_may_be_anything() -> None:
    with account() as fake:
        fake.account.machines.boot_s = 100.0
        rents = provider(fake)
        assert rents.launch(wanted(offer(rents))).note == "PROVISIONING"
        fake.clock.sleep(60)
        assert rents.find(NAME) is not None
        facts = fake.account.facts(next(iter(fake.account.pods.values())))
        assert facts["status"] == "STARTING"
        strange = pod_of({**facts, "status": "MIGRATING"})
        assert strange is not None
        assert strange.state == "unknown"
        with pytest.raises(Away, match="KeyError"):
            pod_of({"status": "RUNNING"})


def test_a_spot_pod_is_taken_away() -> None:
    with account() as fake:
        rents = provider(fake)
        rents.launch(wanted(offer(rents, market="spot")))
        fake.account.machines.kill_after_s = 0.1
        fake.account.interrupt(NAME)
        assert rents.find(NAME) is None
        (pod,) = fake.account.pods.values()
        assert pod.process is not None
        assert pod.process.wait(5) != 0


def test_gone_is_what_is_not_seen_twice_a_minute_apart() -> None:
    with account() as fake:
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        before = fake.clock.now()
        assert make_gone(rents, NAME, fake.clock).since == before
        assert fake.clock.now() - before >= timedelta(seconds=60)
        assert fake.account.alive() == []


@pytest.mark.parametrize(
    "faults",
    [
        ["delete_404", "delete_404"],
        ["delete_ignored", "delete_ignored", "delete_ignored"],
        ["delete_500"] * 6,
        ["forbidden", "balance"],
    ],
)
def test_a_pod_that_will_not_go_is_ended_all_the_same(faults: list[str]) -> None:
    with account(mischief=Mischief({"delete": faults})) as fake:
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        make_gone(rents, NAME, fake.clock)
        assert fake.account.alive() == []


def test_a_pod_that_is_gone_is_seen_to_be_although_its_end_is_not_answered() -> None:
    with account() as fake:
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        fake.account.interrupt(NAME)
        fake.account.mischief.script["delete"] = ["delete_500"] * 500
        make_gone(rents, NAME, fake.clock)
        assert fake.account.mischief.done["delete_500"] > 0


def test_two_pods_of_one_name_both_go() -> None:
    with account() as fake:
        rents = provider(fake)
        taken = offer(rents)
        rents.launch(wanted(taken))
        rents.launch(wanted(taken))
        make_gone(rents, NAME, fake.clock)
        assert fake.account.alive() == []


def test_one_that_cannot_be_ended_does_not_keep_its_twin_running() -> None:
    with account(mischief=Mischief({"delete": ["delete_500"] * 4})) as fake:
        rents = provider(fake)
        taken = offer(rents)
        for _ in range(2):
            rents.launch(wanted(taken))
        with pytest.raises(Away):
            rents.terminate(NAME)
        assert fake.account.alive() == [NAME]


@pytest.mark.parametrize("fault", ["delete_ignored", "delete_500"])
def test_after_ten_minutes_it_is_said_and_a_later_try_still_ends_it(fault: str) -> None:
    with account(mischief=Mischief({"delete": [fault] * 500})) as fake:
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        before = fake.clock.now()
        with pytest.raises(StopFailed, match=NAME):
            make_gone(rents, NAME, fake.clock)
        assert fake.clock.now() - before < timedelta(minutes=12)
        fake.account.mischief.script.clear()
        make_gone(rents, NAME, fake.clock)
        assert fake.account.alive() == []


@pytest.mark.parametrize("seed", range(6))
def test_whatever_goes_wrong_at_random_no_pod_is_left_and_none_is_doubled(seed: int) -> None:
    mischief = Mischief(rates=dict.fromkeys((*CREATE, *READ, *DELETE, *POD), 0.15), seed=seed)
    with account(mischief=mischief, hold_s=0.1) as fake:
        fake.account.lag_s = 30.0
        rents = provider(fake, create_seconds=0.05)
        for number in range(3):
            name, fits = f"br-job-{number}-1-abc", []
            with suppress(CapacityError, BudgetError, ConfigurationError, ProviderError):
                fits = [o for o in rents.offers() if o.market == Market.on_demand]
                rents.launch(wanted(fits[0], name))
            assert fake.account.alive().count(name) <= 1
            make_gone(rents, name, fake.clock)
        assert fake.account.alive() == []
    assert sum(mischief.done.values()) > 3


def test_a_pod_that_ignores_sigterm_is_killed_by_runpod() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    with account(entry=lambda env: ((sys.executable, "-S", "-c", deaf), env)) as fake:
        fake.account.machines.kill_after_s = 0.1
        rents = provider(fake)
        rents.launch(wanted(offer(rents)))
        rents.terminate(NAME)
        (pod,) = fake.account.pods.values()
        assert pod.process is not None
        assert pod.process.wait(5) < 0


@pytest.mark.parametrize("skew", [-7200.0, 7200.0])
def test_a_clock_of_runpods_that_is_wrong_changes_nothing(skew: float) -> None:
    with account() as fake:
        fake.account.skew_s = skew
        rents = provider(fake)
        pod = rents.launch(wanted(offer(rents)))
        assert pod.created_at == fake.clock.now() + timedelta(seconds=skew)
        before = fake.clock.now()
        assert make_gone(rents, NAME, fake.clock).since == before
