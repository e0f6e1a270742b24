"""A night whose run was killed: somebody hears of it, and it can be gone through again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.mail import Inbox, mail_server

from brightrun import nightalarm, nightly
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load
from tasks import nights, people

NIGHT = "2026-11-23"
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def inbox(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with mail_server() as (inbox, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield inbox


def begun(ledger: Ledger, at: datetime = NOW - HOUR) -> None:
    ledger.begin_night(NIGHT, at)


def asked(ledger: Ledger, job_id: str) -> None:
    mine = {"requested_by": nightly.BY, "notes": nightly.note(NIGHT)}
    ledger.create_job(job_id, JobRequest(training_file="spring", **mine))


def test_a_night_that_was_killed_is_told_once(inbox: Inbox) -> None:
    ledger = Ledger.open(load())
    begun(ledger)
    asked(ledger, "j1")
    ledger.update_job("j1", status=Status.failed)
    assert nightalarm.tell(ledger, NOW) == []
    assert inbox.mails == []  # its job has just ended: the night may look at the next file
    later = NOW + HOUR
    for _ in range(2):
        assert nightalarm.tell(ledger, later) == []
    (mail,) = inbox.mails
    assert f"the night of {NIGHT} did not end" in mail
    assert "1 failed" in mail
    assert "brightrun nightly" in mail


def test_a_night_that_goes_on_or_has_ended_is_no_alarm(inbox: Inbox) -> None:
    ledger, later = Ledger.open(load()), NOW + HOUR
    begun(ledger)
    asked(ledger, "j1")
    ledger.claim("j1", "driver", pid=1, host="elsewhere", now=NOW)
    ledger.renew_claim("j1", "driver", later)
    assert nightalarm.tell(ledger, later) == []
    ledger.release_claim("j1", "driver")
    with nightalarm.alone(load()):  # it looks at a large file
        assert nightalarm.tell(ledger, later) == []
    ledger.end_night(NIGHT, {"files": []}, NOW)
    assert nightalarm.tell(ledger, later) == []
    assert inbox.mails == []


def test_a_night_whose_driver_was_killed_while_it_trained_is_told(inbox: Inbox) -> None:
    """A dead driver's claim stays."""
    ledger = Ledger.open(load())
    begun(ledger)
    asked(ledger, "j1")
    ledger.claim("j1", "driver", pid=1, host="elsewhere", now=NOW)
    ledger.update_job("j1", status=Status.failed)
    assert nightalarm.tell(ledger, NOW + timedelta(minutes=5)) == []
    assert inbox.mails == []
    assert nightalarm.tell(ledger, NOW + HOUR) == []
    (mail,) = inbox.mails
    assert "1 failed" in mail


def test_the_sweep_of_every_five_minutes_tells(inbox: Inbox) -> None:
    begun(Ledger.open(load()))
    assert people.night.fn() == []
    assert len(inbox.mails) == 1


def test_a_night_that_broke_off_is_gone_through_again_and_one_that_ended_is_not(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGHTRUN_NIGHTLY_TEMPLATE", "night")
    ledger = Ledger.open(load())
    at = datetime(2026, 11, 23, 3, tzinfo=UTC)
    begun(ledger, NOW - timedelta(minutes=1))
    assert nights.begin.fn(at) == ""  # it may run elsewhere
    ledger.begin_night(NIGHT, NOW - HOUR, again=True)
    assert nights.begin.fn(at) == NIGHT
    ledger.end_night(NIGHT, {"files": []}, NOW)
    assert nights.begin.fn(at) == ""
