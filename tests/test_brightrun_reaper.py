"""The reaper at work on a fake RunPod: what it ends, what it leaves, what it writes and tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from fakes.clock import START
from fakes.mail import mail_server
from fakes.runpod import FakeRunPod
from runpod_rentals import account, offer, provider, wanted

from brightrun import reaper
from brightrun.compute.provider import pod_name
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.context import JobContext
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load

POD = "br-j1-1-abc"


@contextmanager
def renting(
    status: str = "running", lease_minutes: float = 60, **fake: object
) -> Iterator[tuple[FakeRunPod, RunPodProvider, JobContext]]:
    """A job at RunPod with one pod, at the moment of its launch."""
    settings = load()
    ledger = Ledger.open(settings)
    ledger.create_job("j1", JobRequest(training_file="f.json", provider="runpod"))
    ledger.update_job("j1", status=status, hard_limit_usd=Decimal(50))
    job = JobContext(settings, ledger, "j1")
    job.folder.write_json("attempts/1/launch.json", {"resumes_from": 0})
    until = START + timedelta(minutes=lease_minutes)
    job.folder.write_json("control/lease.json", {"expires": until.timestamp(), "seconds": 900})
    with account(**fake) as runpod:
        ours = provider(runpod)
        ledger.add_attempt(
            "j1", 1, provider="runpod", market="on_demand", pod_name=POD,
            usd_per_hour=Decimal("2.39"), launched_at=START,
        )  # fmt: skip
        pod = ours.launch(wanted(offer(ours), POD))
        ledger.pod_rented("j1", 1, pod.provider_id)
        yield runpod, ours, job


def look(
    rented: tuple[FakeRunPod, RunPodProvider, JobContext], *, dry_run: bool = False
) -> tuple[reaper.Reaped, ...]:
    fake, ours, job = rented
    return reaper.reap(job.ledger, "runpod", ours, fake.clock, dry_run=dry_run)


def test_a_pod_at_work_and_the_pods_of_others_stay(home: Path) -> None:
    with renting() as rented:
        fake, ours, _ = rented
        ours.launch(wanted(offer(ours), "somebody-elses"))
        assert look(rented) == ()
        assert fake.account.alive() == [POD, "somebody-elses"]


def test_the_pod_of_a_job_that_is_over_is_ended_told_and_paid(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as (inbox, environment), renting(status="failed") as rented:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        fake, _, job = rented
        told = JobContext(load(), Ledger(job.ledger.engine, load()), "j1")
        fake.clock.sleep(3600)
        (found,) = look((fake, rented[1], told))
        assert (found.pod, found.gone, found.why) == (POD, True, "its job is over")
        assert fake.account.alive() == []
        (attempt,) = job.ledger.attempts("j1")
        assert attempt.outcome == "lost:never booted"
        assert attempt.cost_usd == Decimal("2.39")
        (event,) = job.ledger.events("j1", 0, "warning")
        assert event.payload["code"] == "reaped"
        assert POD in inbox.mails[0]
        assert look((fake, rented[1], told)) == ()


def test_a_dry_run_ends_and_writes_nothing(home: Path) -> None:
    with renting(status="cancelled") as rented:
        fake, _, job = rented
        (found,) = look(rented, dry_run=True)
        assert found.gone is None
        assert "would be ended" in reaper.sentence(found)
        assert fake.account.alive() == [POD]
        assert job.ledger.attempts("j1")[0].ended_at is None
        assert job.ledger.events("j1", 0) == ()


def test_a_pod_that_no_attempt_has_named_goes_when_it_is_no_newborn(home: Path) -> None:
    with renting() as rented:
        fake, ours, _ = rented
        ours.launch(wanted(offer(ours), "br-nobody-1-x"))
        assert look(rented) == ()
        fake.clock.sleep(660)
        (found,) = look(rented)
        assert (found.pod, found.job_id, found.gone) == ("br-nobody-1-x", "", True)
        assert fake.account.alive() == [POD]


def test_two_ledgers_in_one_account_leave_each_others_pods_alone(home: Path) -> None:
    with renting() as rented:
        fake, ours, job = rented
        mine, tag = job.ledger.owner(), "000000"
        theirs = pod_name("j1", 1, "abcdef", tag)  # the same job id, another ledger
        lost = pod_name("j9", 1, "abcdef", mine)
        for name in (theirs, lost):
            ours.launch(wanted(offer(ours), name))
        fake.clock.sleep(3600)
        assert {(f.pod, f.gone, f.foreign) for f in look(rented)} == {
            (lost, True, False), (theirs, None, True),
        }  # fmt: skip
        assert fake.account.alive() == [POD, theirs]
        said = reaper.sentence(look(rented)[0])
        assert said.endswith("another ledger of this account has rented it; it is left alone")


def test_a_pod_that_nobody_drives_goes_some_time_after_its_lease(home: Path) -> None:
    with renting(lease_minutes=5) as rented:
        fake = rented[0]
        fake.clock.sleep(19 * 60)
        assert look(rented) == ()
        fake.clock.sleep(2 * 60)
        (found,) = look(rented)
        assert "nobody drives it" in found.why


def test_a_pod_at_its_limit_is_asked_to_save_before_it_is_ended(home: Path) -> None:
    with renting(lease_minutes=10**5) as rented:
        fake, _, job = rented
        job.ledger.update_job("j1", hard_limit_usd=Decimal("0.01"))
        fake.clock.sleep(600)
        assert look(rented) == ()
        asked = job.folder.stop_request()
        assert asked is not None
        assert asked["reason"] == "budget"
        job.folder.write_json("control/stop.json", {**asked, "at": fake.clock.now().isoformat()})
        fake.clock.sleep(300)
        (found,) = look(rented)
        assert "has cost" in found.why
        assert job.ledger.attempts("j1")[0].outcome == "stopped:budget"  # no pod follows


def test_a_pod_at_its_limit_that_cannot_be_asked_is_ended(home: Path) -> None:
    """Its storage is away: it must not spend on, nor keep the others from being ended."""
    with renting(lease_minutes=10**5) as rented:
        fake, _, job = rented
        job.ledger.update_job("j1", hard_limit_usd=Decimal("0.01"))
        Path(job.folder.path("control/stop.json")).mkdir()  # cannot be read as a file
        fake.clock.sleep(600)
        (found,) = look(rented)
        assert "has cost" in found.why
        assert found.gone


def test_what_cannot_be_ended_is_told_stays_in_the_books_and_is_tried_for_ever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as (inbox, environment), renting(status="failed") as rented:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        fake, ours, job = rented
        told = JobContext(load(), Ledger(job.ledger.engine, load()), "j1")
        fake.account.mischief.script["delete"] = ["delete_ignored"] * 60
        (found,) = look((fake, ours, told))
        assert found.gone is False
        (attempt,) = job.ledger.attempts("j1")
        assert (attempt.outcome, attempt.ended_at) == ("stop_failed", None)
        assert job.ledger.cost_so_far("j1", fake.clock.now()) > 0
        assert "cannot be ended" in inbox.mails[0]
        assert job.ledger.events("j1", 0, "error")[0].payload["code"] == "stop_failed"
        fake.account.mischief.script["delete"] = []
        (found,) = look((fake, ours, told))
        assert found.gone is True
        assert job.ledger.attempts("j1")[0].ended_at is not None


def test_an_alarm_of_a_stray_pod_that_does_not_go_out_is_told_with_the_pod(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with renting() as rented:
        fake, ours, job = rented
        monkeypatch.setenv("BRIGHTRUN_SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("BRIGHTRUN_SMTP_PORT", "9")  # nobody listens
        monkeypatch.setenv("BRIGHTRUN_EMAIL_FROM", "reaper@example.org")
        monkeypatch.setenv("BRIGHTRUN_EMAIL_TO", "ops@example.org")
        told = JobContext(load(), Ledger(job.ledger.engine, load()), "j1")
        ours.launch(wanted(offer(ours), "br-stray-1-abc"))
        fake.clock.sleep(3600)
        fake.account.mischief.script["delete"] = ["delete_ignored"] * 60
        found = {pod.pod: pod for pod in look((fake, ours, told))}["br-stray-1-abc"]
    assert found.gone is False
    assert "email" in found.untold[0]
    assert f"may bill (not delivered: {found.untold[0]})" in reaper.sentence(found)


def test_books_of_a_job_that_is_over_are_closed_although_no_list_shows_its_pod(home: Path) -> None:
    with renting(status="failed") as rented:
        fake, _, job = rented
        fake.account.interrupt(POD)
        (found,) = look(rented)
        assert found.gone is True
        assert job.ledger.attempts("j1")[0].ended_at is not None
        # Nothing ran, so nobody is alarmed.
        assert {event.type for event in job.ledger.events("j1", 0)} <= {"choice"}
