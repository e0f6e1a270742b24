"""Reconciling with bills: the fake RunPod's by the contract, this machine's notional one."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from fakes.clock import ManualClock
from fakes.mail import mail_server
from runpod_rentals import account, offer, provider, wanted
from waiting import until

from brightrun import bookkeeping
from brightrun.compute.local import LocalProvider
from brightrun.compute.provider import LaunchRequest
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load

# It wakes people: whoever wants no digest hears of it, in quiet hours too.
ASLEEP = """
[[person]]
name = "Ann"
email = "ann@example.org"
quiet = "00:00-23:59"
events = { default = ["email"], digest = [] }
"""


def books(name: str, pod: str, price: Decimal, at: datetime, pod_id: str) -> Ledger:
    """A ledger with one attempt."""
    ledger = Ledger.open(load())
    ledger.create_job("j", JobRequest(training_file="f"))
    ledger.add_attempt(
        "j", 1, provider=name, market="on_demand", pod_name=pod, usd_per_hour=price, launched_at=at
    )
    if pod_id:
        ledger.pod_rented("j", 1, pod_id, price)
    return ledger


def test_runpods_bill_and_the_ledger_agree_but_for_the_rounding(home: Path) -> None:
    clock = ManualClock()
    with account(clock) as fake:
        known = provider(fake)
        taken = offer(known)
        pod = known.launch(wanted(taken))
        ledger = books("runpod", pod.name, taken.usd_per_hour, clock.now(), pod.provider_id)
        clock.sleep(3 * 3600 + 0.4)
        known.terminate(pod.name)
        ledger.end_attempt("j", 1, clock.now(), "done")
        since = bookkeeping.usual_since(clock.now())
        found = bookkeeping.reconcile(ledger, "runpod", since, clock.now(), known)
        assert found.billed_usd == Decimal(str(fake.account.bill.total_micro(clock.now()))) / 10**6
        assert not found.notional
        (apart,) = found.differences
        assert apart.reason.startswith("rounding")
        assert 0 < apart.difference_usd <= taken.usd_per_hour / 3600
        assert found.worth_telling == ()


def test_a_bill_is_booked_a_day_after_the_books_were_closed_and_not_before(home: Path) -> None:
    clock = ManualClock()
    with account(clock) as fake:
        known = provider(fake)
        taken = offer(known)
        pod = known.launch(wanted(taken))
        ledger = books("runpod", pod.name, taken.usd_per_hour, clock.now(), pod.provider_id)
        clock.sleep(3600)
        known.terminate(pod.name)
        clock.sleep(60)
        ledger.end_attempt("j", 1, clock.now(), "done")
        billed = Decimal(fake.account.bill.total_micro(clock.now())) / 10**6
        for hours, booked in ((23, 0), (1, 1), (0, 0)):
            clock.sleep(hours * 3600)
            since = bookkeeping.usual_since(clock.now())
            found = bookkeeping.reconcile(ledger, "runpod", since, clock.now(), known)
            assert bookkeeping.book(ledger, found) == booked
            assert (ledger.cost_so_far("j", clock.now()) == billed) is (hours < 23)
        (said,) = ledger.events("j", 0, "choice")
        assert "the bill is booked (boot seconds: 60 s are not billed" in said.payload["message"]


def test_a_pod_of_ours_that_nobody_wrote_down_is_told_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as (inbox, environment), account(ManualClock()) as fake:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        home.mkdir()
        (home / "people.toml").write_text(ASLEEP)
        known = provider(fake)
        known.launch(wanted(offer(known), "br-lost-1-x"))
        fake.clock.sleep(7200)
        ledger, now = Ledger.open(load()), fake.clock.now()
        since = bookkeeping.usual_since(now)
        found = bookkeeping.reconcile(ledger, "runpod", since, now, known)
        assert [d.pod_name for d in found.alarms] == ["br-lost-1-x"]
        for _ in range(2):
            assert bookkeeping.raise_alarms(ledger, found) == []
        (mail,) = inbox.mails
        assert "for pod br-lost-1-x" in mail


def test_the_local_bill_is_notional_and_ends_when_the_pod_was_seen_gone(
    home: Path, tmp_path: Path
) -> None:
    price = Decimal("3.6")
    pods = tmp_path / "pods"
    known = LocalProvider(pods, (sys.executable, "-c", "pass"), usd_per_hour=price)
    began = datetime.now(UTC)
    known.launch(LaunchRequest(name="br-j-1-x", environment={}))
    until(lambda: known.find("br-j-1-x") is None)
    ledger = books("local", "br-j-1-x", price, began, "")
    ledger.end_attempt("j", 1, datetime.now(UTC), "done")
    now = datetime.now(UTC) + timedelta(hours=1)
    found = bookkeeping.reconcile(ledger, "local", bookkeeping.usual_since(now), now, known)
    assert found.notional
    assert found.pods == 1
    assert abs(found.difference_usd) < Decimal("0.02")
    again = LocalProvider(pods, usd_per_hour=Decimal(99))  # a new price does not change old bills
    assert again.billing(began - timedelta(days=1)) == known.billing(began - timedelta(days=1))


def test_only_the_time_that_is_looked_at_counts(home: Path, tmp_path: Path) -> None:
    known = LocalProvider(tmp_path, usd_per_hour=Decimal("3.6"))
    began = datetime(2026, 11, 20, 12, tzinfo=UTC)
    (tmp_path / "br-a.json").write_text(f'{{"pid": 4194303, "created": {began.timestamp()}}}')
    (tmp_path / "br-a.ended").touch()
    last = (began + timedelta(hours=24)).timestamp()
    os.utime(tmp_path / "br-a.ended", (last, last))
    (whole,) = known.billing(began - timedelta(days=1))
    (half,) = known.billing(began + timedelta(hours=12))
    assert (whole.usd, half.usd) == (Decimal("86.4"), Decimal("43.2"))
    assert known.billing(began + timedelta(hours=24)) == ()
