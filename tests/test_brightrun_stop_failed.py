"""A pod that cannot be ended: its books stay open, it is told, no second one is rented."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from fakes.clock import START, ManualClock
from fakes.compute import FakeProvider
from fakes.mail import mail_server
from pod_lives import Trainer, drive, finishes, hangs, job_with, outcomes, stale_after

from brightrun import attempts
from brightrun.compute.ending import Look, failing, make_gone
from brightrun.compute.provider import Manners, Pod
from brightrun.context import JobContext
from brightrun.errors import StopFailed
from brightrun.launching import launch
from brightrun.settings import load


class Deaf(FakeProvider):
    """Accepts every end and does nothing, until `hears` is set."""

    hears = False

    def terminate(self, name: str) -> None:
        if self.hears:
            super().terminate(name)


pytestmark = pytest.mark.usefixtures("quick")


def deaf(home: Path, *lives: object) -> tuple[JobContext, Deaf]:
    job = job_with(home)
    fake = Deaf(*lives)  # type: ignore[arg-type]
    vars(job).update(provider=fake, clock=ManualClock(), settings=load())
    stale_after(job, 0.02)
    return job, fake


def test_it_is_told_on_every_channel_and_in_the_books_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as (inbox, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        job, _ = deaf(home, hangs)
        pod = launch(job)
        assert not attempts.release(job, pod)
        assert not attempts.release(job, pod)
        (mail,) = inbox.mails
    assert f"pod {pod.pod_name} cannot be ended and may bill" in mail.replace("\n", "")
    assert outcomes(job) == ["stop_failed"]
    assert [row.pod_name for row in job.ledger.open_attempts()] == [pod.pod_name]
    said = [e.payload["code"] for e in job.ledger.events("job-1", 0, "error")]
    assert said == ["stop_failed"]


def test_no_second_pod_is_rented_until_it_is_gone(home: Path) -> None:
    job, fake = deaf(home, hangs, finishes)
    with pytest.raises(StopFailed, match="rents no further pod"):
        drive(job)
    assert len(fake.launched) == 1
    fake.hears = True
    assert attempts.settle_open_attempts(job)
    assert outcomes(job) == ["lost:no ending was written"]
    assert drive(job)["steps"] == 9


def test_a_job_whose_work_is_done_ends_well_although_its_pod_stays(home: Path) -> None:
    def stays(environment: dict[str, str]) -> object:
        pod = Trainer(environment)
        pod.steps(1, 9)
        pod.end("_DONE", adapter_sha256="abc", steps=9)
        while True:
            yield

    job, _ = deaf(home, stays)
    assert drive(job)["steps"] == 9
    assert outcomes(job) == ["stop_failed"]


class Flickering(Deaf):
    """Every second look does not find the pod, which is there."""

    manners = Manners(gone_gap_s=60.0)
    looks = 0

    def find(self, name: str) -> Pod | None:
        self.looks += 1
        assert self.looks < 1000, "it is looked for without end, and nobody is told"
        return None if self.looks % 2 else Pod(name=name, provider_id="p", state="running")


def test_a_pod_that_is_seen_every_second_time_is_told_after_ten_minutes() -> None:
    clock = ManualClock()
    with pytest.raises(StopFailed, match="may go on billing"):
        make_gone(Flickering(), "br-j1-1-abc", clock)
    assert 600 <= clock.passed < 800


@pytest.mark.parametrize(
    ("seen", "is_failing"),
    [
        ([True] * 11, True),
        ([None] * 11, True),
        ([True] * 10, False),
        ([True] * 10 + [False], False),  # its absence may be confirmed by the next look
        ([True] * 10 + [False, None], False),
        ([True] * 10 + [False, True], True),
        ([True, False] + [None] * 9, False),
        ([True, False] + [None] * 11, True),
        ([False], False),
        ([], False),
    ],
)
def test_an_end_has_failed_when_it_is_not_about_to_be_confirmed(
    seen: list[bool | None], is_failing: bool
) -> None:
    looks = [Look(at=START + timedelta(minutes=n), seen=s) for n, s in enumerate(seen)]
    assert failing(looks) is is_failing
