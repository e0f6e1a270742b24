"""Thresholds of money are told once each, on the channels that they are for."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import report_samples
from fakes.mail import Inbox, mail_server
from fakes.slack import FakeSlack, slack

from brightrun import alerts, budget, monthalarms, posting
from brightrun.context import JobContext
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.posting import deliver_due
from brightrun.settings import load
from tasks import people


@pytest.fixture
def channels(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Inbox, FakeSlack]]:
    """Both channels, configured as a person does it."""
    with mail_server() as (inbox, environment), slack() as chat:
        mine = {
            "BRIGHTRUN_SLACK_TOKEN": "xoxb-1",
            "BRIGHTRUN_SLACK_CHANNEL": "#runs",
            "BRIGHTRUN_SLACK_BASE_URL": chat.url,
            "BRIGHTRUN_MONTH_BUDGET_USD": "1000",
        }
        for name, value in {**environment, **mine}.items():
            monkeypatch.setenv(name, value)
        yield inbox, chat


def job(likely: float = 10.0) -> JobContext:
    settings = load()
    ledger = Ledger.open(settings)
    ledger.create_job("j1", JobRequest(training_file="f.json", name="Spring"))
    ledger.update_job(
        "j1", estimate={"cost_usd": {"low": 1.0, "likely": likely, "high": 90.0}}, status="running"
    )
    return JobContext(settings, ledger, "j1")


def spend(known: JobContext, number: int, usd: str) -> None:
    """A pod of one hour that cost so much and is gone."""
    now = datetime.now(UTC)
    known.ledger.add_attempt(
        "j1", number, provider="local", market="on_demand", pod_name=f"p{number}",
        usd_per_hour=Decimal(usd), launched_at=now - timedelta(hours=1),
    )  # fmt: skip
    known.ledger.end_attempt("j1", number, now, "done")


def check(known: JobContext) -> None:
    for sending in alerts.check(known):
        sending.join(30)


def told(known: JobContext) -> list[str]:
    rows = known.ledger.events("j1", 0, "warning")
    return [e.payload["threshold"] for e in rows if e.payload["code"] == "budget"]


def test_each_threshold_of_a_job_is_told_once_on_its_channels(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    inbox, chat = channels
    known = job(likely=10.0)
    spend(known, 1, "7.9")
    check(known)
    assert (inbox.mails, told(known)) == ([], [])
    spend(known, 2, "0.2")
    check(known)
    check(known)
    assert told(known) == ["80"]
    (mail,) = inbox.mails
    assert mail.startswith("Bright Run: $8.10 spent: 80 % of the estimated $10.00 passed")
    assert "brightrun cancel j1" in mail
    assert "(Spring)" in mail
    assert chat.calls == []
    spend(known, 3, "4")
    check(known)
    check(known)
    assert told(known) == ["80", "95", "over_20"]
    assert len(inbox.mails) == 3
    assert [call[2]["text"] for call in chat.calls] == [
        "Bright Run: $12.10 spent: 95 % of the estimated $10.00 passed",
        "Bright Run: $12.10 spent: 120 % of the estimated $10.00 passed",
    ]


def test_a_months_threshold_is_told_by_the_job_that_reached_it_and_by_no_other(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    inbox, _ = channels
    known = job(likely=2000.0)
    spend(known, 1, "801")
    check(known)
    known.ledger.create_job("j2", JobRequest(training_file="f.json"))
    other = JobContext(known.settings, known.ledger, "j2")
    check(other)
    (mail,) = inbox.mails
    assert "80 % of $1,000.00" in mail
    assert "$199.00 left" in mail
    assert other.ledger.events("j2", 0, "warning") == ()


def used_up(known: JobContext) -> None:
    known.ledger.set_month_limit(budget.month_name(datetime.now(UTC)), Decimal(5), set_by="Ann")
    spend(known, 1, "5")


def test_a_month_that_is_used_up_stops_the_job_and_says_so_once(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    inbox, chat = channels
    known = job(likely=2000.0)
    used_up(known)
    check(known)
    check(known)
    asked = known.folder.stop_request()
    assert asked is not None
    assert asked["reason"] == "budget"
    assert "the limit of $5.00 is reached" in asked["by"]
    assert told(known).count("month_limit") == 1
    (mail,) = [m for m in inbox.mails if "is reached" in m]
    assert "saves a checkpoint and stops" in mail
    assert any("is reached" in call[2]["text"] for call in chat.calls)


def test_an_approval_that_overrode_the_budget_is_respected(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    known = job(likely=2000.0)
    used_up(known)
    known.folder.write_json("gate.json", {"by": "Ann", "override_budget": True})
    check(known)
    assert known.folder.stop_request() is None
    assert "month_limit" not in told(known)
    known.folder.write_json("gate.json", {"by": "Ann", "override_budget": False})
    check(known)
    assert known.folder.stop_request() is not None


def test_a_raised_limit_has_thresholds_of_its_own(channels: tuple[Inbox, FakeSlack]) -> None:
    known = job(likely=2000.0)
    month = budget.month_name(datetime.now(UTC))
    known.ledger.set_month_limit(month, Decimal(10), set_by="Ann")
    spend(known, 1, "9")
    check(known)
    check(known)
    assert told(known) == ["80"]
    known.ledger.set_month_limit(month, Decimal(100), set_by="Ann")
    check(known)
    assert told(known) == ["80"]
    spend(known, 2, "75")
    check(known)
    assert told(known) == ["80", "80"]


def test_what_is_booked_when_no_job_runs_is_told_once_by_the_reapers_flow(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    """A bill that came later, a limit that somebody lowered; a job that runs tells it no more."""
    inbox, chat = channels
    known = job(likely=2000.0)
    ledger, now = known.ledger, datetime.now(UTC)
    ledger.set_month_limit(budget.month_name(now), Decimal(60), set_by="Ann", client="Acme")
    assert people.month.fn() == []
    assert inbox.mails == []
    spend(known, 1, "751")
    ledger.create_job("j2", JobRequest(training_file="f.json", client="Acme"))
    ledger.add_attempt(
        "j2", 1, provider="local", market="on_demand", pod_name="p", usd_per_hour=Decimal(58),
        launched_at=now - timedelta(hours=1),
    )  # fmt: skip
    ledger.end_attempt("j2", 1, now, "done", cost_usd=Decimal(58))
    assert monthalarms.tell(ledger, now) == people.month.fn() == []
    whole, eighty, most = inbox.mails
    assert "80 % of $1,000.00" in whole
    assert "brightrun budget raise 200 --month" in whole
    assert "Reached by" not in whole
    assert "for Acme" in eighty
    assert "80 % of $60.00" in eighty
    assert "95 % of $60.00" in most
    assert [call[2]["text"] for call in chat.calls] == [most.split("\n")[0]]
    check(known)
    check(JobContext(known.settings, ledger, "j2"))
    assert len(inbox.mails) == 3
    assert told(known) == []


def test_a_bill_of_last_month_is_told_in_the_first_days_of_this_one(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    inbox, _ = channels
    known = job(likely=2000.0)
    at = datetime(2026, 10, 31, 20, tzinfo=UTC)
    known.ledger.add_attempt(
        "j1", 1, provider="local", market="on_demand", pod_name="p1", usd_per_hour=Decimal(1),
        launched_at=at,
    )  # fmt: skip
    known.ledger.end_attempt("j1", 1, at + timedelta(hours=2), "done", cost_usd=Decimal(960))
    assert monthalarms.tell(known.ledger, datetime(2026, 11, 9, tzinfo=UTC)) == []
    assert inbox.mails == []
    for day in (2, 3):
        monthalarms.tell(known.ledger, datetime(2026, 11, day, tzinfo=UTC))
    assert ["spent in 2026-10" in mail for mail in inbox.mails] == [True, True]
    assert "--month 2026-10" in inbox.mails[1]


def test_a_mail_server_that_is_away_is_a_warning_and_the_threshold_is_not_told_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
    known = job(likely=1.0)
    spend(known, 1, "0.9")
    check(known)
    check(known)
    said = [e.payload["message"] for e in known.ledger.events("j1", 0, "warning")]
    assert len(said) == 2
    _, _, reached = said[0].partition(": ")
    assert said[1] == f"not delivered: Bright Run: {reached}: email: ConnectionRefusedError"


def test_a_server_that_does_not_answer_keeps_no_job_from_its_start(
    channels: tuple[Inbox, FakeSlack], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, asked, held = job(), threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        asked.set()
        held.wait(5)

    monkeypatch.setattr(posting, "send", slow)
    word = known.ledger.add_approval("j1", approved=True, approver="Ann")
    under_way = [alerts.began(known), alerts.approved(known, word)]
    assert asked.wait(5)
    assert any(sending.is_alive() for sending in under_way)
    held.set()
    for sending in under_way:
        sending.join(5)
    assert deliver_due(known.ledger, datetime.now(UTC)) == []
    assert told(known) == []


def test_an_alarm_outlives_the_process_that_raised_it(
    channels: tuple[Inbox, FakeSlack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed before its thread has sent anything, or before the alarm counts as told."""
    inbox, _ = channels
    known = job(likely=10.0)
    spend(known, 1, "8.1")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "record_alert", killed)
        with pytest.raises(KeyboardInterrupt):
            alerts.check(known)
    with monkeypatch.context() as patched:
        patched.setattr(alerts, "deliver", lambda *_: None)
        check(known)
    assert inbox.mails == []
    check(known)
    assert deliver_due(known.ledger, datetime.now(UTC)) == []
    assert len(inbox.mails) == 1
    assert told(known) == ["80"]


def test_without_an_estimate_nothing_is_told(home: Path) -> None:
    settings = load()
    ledger = Ledger.open(settings)
    ledger.create_job("j1", JobRequest(training_file="f.json"))
    assert alerts.check(JobContext(settings, ledger, "j1")) == []


def test_a_missed_target_is_told_of_what_was_trained_and_not_of_an_assessment(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    known = job()
    known.ledger.save_evaluation("j1", report_samples.evaluation())
    again = JobRequest(training_file="f.json", assesses="j1")
    known.ledger.create_job("j2", again)
    known.ledger.save_evaluation("j2", report_samples.evaluation())
    for job_id in ("j1", "j2"):
        alerts.quality(JobContext(known.settings, known.ledger, job_id))
    (mail,) = channels[0].mails
    assert "Bright Run job j1 is below target" in mail
    assert "Train again: brightrun retry j1" in mail


def test_a_message_links_to_run_pages_only_while_somebody_serves_them(home: Path) -> None:
    known = job()
    row = known.ledger.update_job("j1", flow_run_id="r1")
    record = home / "prefect" / "server.json"
    record.parent.mkdir()
    facts = {"api_url": "http://127.0.0.1:4200/api", "pid": os.getpid()}
    record.write_text(json.dumps(facts))
    assert alerts.links_of(known, row) == (("Run", "http://127.0.0.1:4200/runs/flow-run/r1"),)
    with subprocess.Popen(["true"]) as killed:
        pass
    record.write_text(json.dumps({**facts, "pid": killed.pid}))
    assert alerts.links_of(known, row) == ()
