"""Money held at the gate: by construction no month is ever promised twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brightrun import budgeting, nightly, promises
from brightrun.budget import BudgetState, Threshold
from brightrun.context import JobContext
from brightrun.deciding import RESUMED
from brightrun.errors import UsageError
from brightrun.jobs import Confirm, JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime.now(UTC)


def job(name: str, high: float, client: str = "", **more: str) -> JobContext:
    """A scheduled job that has its estimate and stands before the gate."""
    settings = load()
    ledger = Ledger.open(settings)
    scheduled = {"training_file": "f.json", "confirm": Confirm.above_limits, "repeat": True}
    wish = JobRequest.model_validate({**scheduled, "client": client, **more})
    ledger.create_job(name, wish)
    known = JobContext(settings, ledger, name)
    facts: dict[str, Any] = {
        "cost_usd": {"low": high / 4, "likely": high / 2, "high": high},
        "price": {"usd_per_hour": 0.5},
        "made_at": (NOW - timedelta(seconds=1)).isoformat(),
    }
    known.folder.write_json("estimate.json", facts)
    ledger.update_job(name, estimate=facts, status=Status.estimating)
    return known


def asks(known: JobContext) -> tuple[str, ...]:
    return promises.at_gate(known, None, ())[1]


def test_a_job_that_passes_holds_its_hard_limit_until_it_ends(home: Path) -> None:
    known = job("a", 40.0)
    assert asks(known) == ()
    assert known.ledger.open_hold("a") == 50  # 1.25 x the high end
    known.ledger.update_job("a", status=Status.paused)
    assert known.ledger.open_hold("a") == 50  # it will go on
    known.ledger.update_job("a", status=Status.failed)
    assert known.ledger.open_hold("a") is None
    assert known.ledger.budget_state(NOW).left == 500


def test_one_of_two_that_ask_for_the_last_dollars_passes(home: Path) -> None:
    first, second = job("a", 140.0), job("b", 140.0)
    first.ledger.set_month_limit(f"{NOW:%Y-%m}", Decimal(200), set_by="Ann")
    assert asks(first) == ()
    (why,) = asks(second)
    assert "$25.00 of the" in why
    assert second.ledger.open_hold("b") is None


def test_threads_that_ask_at_once_never_pass_the_limit(home: Path) -> None:
    jobs = [job(f"j{n}", 90.0) for n in range(12)]
    answers: list[tuple[str, ...]] = []
    start = threading.Barrier(len(jobs))

    def ask(known: JobContext) -> None:
        start.wait()
        answers.append(asks(known))

    threads = [threading.Thread(target=ask, args=(known,)) for known in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = jobs[0].ledger.budget_state(NOW)
    # 500 = 4 x 112.50 and 50 left: the fifth may not start, its high end is 90.
    assert [answer == () for answer in answers].count(True) == 4
    assert state.committed == 450


def test_of_raises_at_once_none_is_lost(home: Path) -> None:
    ledger, n = Ledger.open(load()), 12
    start = threading.Barrier(n)
    told: list[tuple[Decimal | None, Decimal]] = []

    def more(number: int) -> None:
        start.wait()
        said = {"by": f"P{number}", "reason": "a run more", "more": True}
        told.append(budgeting.change(ledger, "2026-11", Decimal(10), "", **said))

    threads = [threading.Thread(target=more, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.month_limit("2026-11") == 500 + 10 * n
    steps = [(Decimal(500 + 10 * k), Decimal(510 + 10 * k)) for k in range(n)]
    assert sorted(told) == steps  # each answer says what was there before it
    log = ledger.audit_log(NOW - timedelta(days=1), datetime.now(UTC) + timedelta(seconds=1))
    assert sorted((row.before, row.after) for row in log) == steps
    with pytest.raises(UsageError, match="no budget of its own"):
        budgeting.change(ledger, "2026-11", Decimal(10), "Bolt", "Ann", "why", more=True)


def test_a_clients_own_budget_holds_too(home: Path) -> None:
    first, second, other = job("a", 60.0, "Acme"), job("b", 60.0, "Acme"), job("c", 60.0, "Bolt")
    first.ledger.set_month_limit("", Decimal(100), set_by="Ann", client="Acme")
    assert asks(first) == ()
    (why,) = asks(second)
    assert "budget of Acme of $100.00" in why
    assert asks(other) == ()
    months = {row.client: row for row in first.ledger.by_client(NOW)}
    assert (months["Acme"].limit, months["Acme"].committed) == (100, 75)
    assert months["Bolt"].limit is None


def test_going_on_takes_what_is_left_from_the_month_as_it_is_now(home: Path) -> None:
    known = job("a", 80.0)
    assert asks(known) == ()
    known.folder.write_json("gate.json", {"hard_limit_usd": 100.0, "override_budget": False})
    known.ledger.update_job("a", status=Status.failed)
    assert promises.kept(known)
    assert known.ledger.open_hold("a") == 100
    known.ledger.update_job("a", status=Status.failed, finished_at=NOW)
    known.ledger.set_month_limit(f"{NOW:%Y-%m}", Decimal(60), set_by="Ann")
    assert not promises.kept(known)
    assert not known.folder.exists("gate.json")


def paid(ledger: Ledger, name: str, usd: str) -> None:
    """A pod that has ended."""
    ledger.add_attempt(
        name, 1, provider="local", market="spot", pod_name=name, usd_per_hour=Decimal(1),
        launched_at=NOW,
    )  # fmt: skip
    ledger.end_attempt(name, 1, NOW, "done", cost_usd=Decimal(usd))


def test_a_nights_job_may_cost_no_more_than_its_night_has_left(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGHTRUN_NIGHTLY_BUDGET_USD", "50")
    mine = {"requested_by": nightly.BY, "notes": nightly.note("2026-11-23")}
    first, second, third = (job(name, usd, **mine) for name, usd in
                            (("a", 32.0), ("b", 18.0), ("c", 25.0)))  # fmt: skip
    ledger = first.ledger
    assert asks(first) == ()
    assert ledger.open_hold("a") == 40  # 1.25 x the high end
    paid(ledger, "a", "30")
    ledger.update_job("a", notes="a person's note")  # the night is still known by its request
    assert ledger.night_cost("2026-11-23", NOW) == 30
    assert asks(second) == ()
    assert ledger.open_hold("b") == 20  # not 22.50
    assert promises.most(second, Decimal(30)) == 20
    assert asks(third) == ("may cost $25.00, but $20.00 of the night's budget is left",)
    assert ledger.open_hold("c") is None
    ledger.set_approver("Ben", Decimal(10), set_by="Ann")
    word = ledger.add_approval("c", approved=True, approver="Ben")
    assert "Ben may approve up to $10.00" in promises.at_gate(third, word, ())[1][0]
    word = ledger.add_approval("c", approved=True, approver="Ann")
    decision, shut = promises.at_gate(third, word, ())
    assert (decision.action, shut) == ("approve", ())
    assert ledger.open_hold("c") == Decimal("31.25")  # a person decided on it
    second.folder.write_json(RESUMED, {"after": 1})  # or goes on with it
    assert promises.most(second, Decimal(30)) == 30
    assert promises.most(job("d", 9.0, notes=mine["notes"]), Decimal(99)) == 99  # a person's


def test_an_approver_decides_up_to_a_limit_of_their_own(home: Path) -> None:
    known = job("a", 200.0)
    known.ledger.set_approver("Ben", Decimal(180), set_by="Ann")
    known.ledger.set_approver("", Decimal(0), set_by="Ann")

    def said_by(name: str) -> tuple[str, ...]:
        word = known.ledger.add_approval("a", approved=True, approver=name)
        return promises.at_gate(known, word, ())[1]

    assert "Ben may approve up to $180.00" in said_by("Ben")[0]
    assert "up to $0.00" in said_by("Eve")[0]
    known.ledger.set_approver("Ben", Decimal(250), set_by="Ann")
    assert said_by(" ben ") == ()


@pytest.mark.parametrize("confirm", list(Confirm))
def test_an_override_of_the_budget_passes_no_approvers_own_limit(
    home: Path, confirm: Confirm
) -> None:
    known = job("a", 120.0, confirm=confirm)
    known.ledger.set_month_limit(f"{NOW:%Y-%m}", Decimal(30), set_by="Ann")
    known.ledger.set_approver("Ben", Decimal(50), set_by="Ann")

    def said_by(name: str) -> tuple[str, ...]:
        word = known.ledger.add_approval(
            "a", approved=True, approver=name, note="the client waits", override_budget=True
        )
        return promises.at_gate(known, word, ())[1]

    assert "Ben may approve up to $50.00" in said_by("Ben")[0]
    assert known.ledger.open_hold("a") is None
    assert said_by("Ann") == ()
    assert known.ledger.open_hold("a") == 150


def test_a_threshold_may_be_a_multiple_of_the_usual_cost(home: Path) -> None:
    ledger = Ledger.open(load())
    wish = JobRequest(training_file="f", client="Acme")
    ledger.set_threshold(
        "Acme", warn=Threshold(times=1.5), approve=Threshold(Decimal(50), 3.0), set_by="Ann"
    )
    assert ledger.limits_for("Acme", "balanced", "local").approve_above == 50
    for number, usd in enumerate((4, 10, 12)):
        name = f"old-{number}"
        ledger.create_job(name, wish)
        paid(ledger, name, str(usd))
        ledger.update_job(name, status=Status.completed)
    found = ledger.limits_for("Acme", "balanced", "local")
    assert (found.warn_above, found.approve_above) == (15, 30)
    assert ledger.limits_for("Bolt", "balanced", "local").approve_above == 150


def test_setting_one_threshold_leaves_the_other_and_a_clients_gaps_are_everybodys(
    home: Path,
) -> None:
    ledger = Ledger.open(load())
    ledger.set_threshold("", approve=Threshold(Decimal(40)), set_by="Ann")
    ledger.set_threshold("", warn=Threshold(Decimal(30)), set_by="Ann")
    ledger.set_threshold("Acme", warn=Threshold(Decimal(5)), set_by="Ann")

    def limits(client: str) -> tuple[Decimal, Decimal]:
        found = ledger.limits_for(client, "balanced", "local")
        return found.warn_above, found.approve_above

    assert limits("Bolt") == (30, 40)
    assert limits("Acme") == (5, 40)
    ledger.set_threshold("Acme", approve=Threshold(times=2.0), set_by="Ann")  # too few jobs yet
    assert limits("Acme") == (5, 40)
    ledger.set_threshold("", approve=Threshold(), set_by="Ann")
    assert limits("Acme") == (5, 150)
    log = ledger.audit_log(NOW, datetime.now(UTC) + timedelta(seconds=1))
    assert [row.reason for row in log][1:3] == ["warn above $30.00", "warn above $5.00"]


def test_who_decided_what_is_in_the_audit_log(home: Path) -> None:
    known = job("a", 200.0)
    ledger = known.ledger
    begun = datetime.now(UTC)  # the suite may have imported this file long before
    ledger.set_month_limit(f"{NOW:%Y-%m}", Decimal(750), set_by="Ann", note="two clients more")
    ledger.add_approval("a", approved=True, approver="Ben", note="ok", override_budget=True)
    log = ledger.audit_log(begun, datetime.now(UTC) + timedelta(seconds=1))
    assert [(row.who, row.action) for row in log] == [
        ("Ann", "set budget"), ("Ben", "override budget"),
    ]  # fmt: skip
    assert (log[0].before, log[0].after, log[0].reason) == (500, 750, "two clients more")
    assert (log[1].job_id, log[1].after, log[1].reason) == ("a", 200, "ok")


def test_months_follow_the_time_zone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIGHTRUN_TIME_ZONE", "America/New_York")
    ledger = Ledger.open(load())
    ledger.create_job("a", JobRequest(training_file="f"))
    # New York leaves summer time on 1 November 2026: its month begins at 04:00 and ends at 05:00.
    for number, (hour, day) in enumerate(((3, 1), (5, 1)), 1):
        at = datetime(2026, 11, day, hour, 30, tzinfo=UTC)
        ledger.add_attempt(
            "a", number, provider="local", market="spot", pod_name=f"p{number}",
            usd_per_hour=Decimal(1), launched_at=at,
        )  # fmt: skip
        ledger.end_attempt(
            "a", number, at + timedelta(minutes=15), "done", cost_usd=Decimal(number)
        )
    end_of_november = datetime(2026, 12, 1, 4, 59, tzinfo=UTC)
    assert ledger.budget_state(end_of_november).month == "2026-11"
    assert ledger.budget_state(end_of_november).spent == 2
    assert ledger.budget_state(end_of_november + timedelta(minutes=1)).spent == 0
    assert ledger.months_spent(end_of_november, 2) == (("2026-10", 1), ("2026-11", 2))


ASK = """
import sys
from brightrun import promises
from brightrun.context import open_job
job = open_job(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
print(int(promises.at_gate(job, None, ())[1] == ()), flush=True)
"""


def started(job_id: str) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", ASK, job_id], subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe)


@pytest.mark.slow
def test_fifty_processes_that_ask_at_once_never_pass_the_limit(home: Path) -> None:
    known = [job(f"j{n:02}", 36.0) for n in range(50)]
    asking = [started(one.job_id) for one in known]
    for process in asking:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
    for process in asking:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    passed = sum(int(process.communicate(timeout=120)[0]) for process in asking)
    state: BudgetState = known[0].ledger.budget_state(NOW)
    assert passed == 11  # 45 dollars held for each: 11 x 45 = 495, and 5 dollars are not 36
    assert state.committed == 495
