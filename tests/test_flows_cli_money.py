"""`brightrun budget` and `reconcile`: what a person reads and sets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from brightrun.errors import UsageError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load
from flows.cli import app
from tasks import reconciling

NOW = datetime.now(UTC)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def month(*words: str) -> dict[str, Any]:
    done = run("budget", "--json", *words)
    assert done.exit_code == 0
    return dict(json.loads(done.stdout))


def spend(job: str, client: str, usd: str) -> None:
    """A job of a client that cost so much in the last minute."""
    ledger = Ledger.open(load())
    ledger.create_job(job, JobRequest(training_file="f", client=client))
    ledger.add_attempt(
        job, 1, provider="local", market="on_demand", pod_name=job,
        usd_per_hour=Decimal(1), launched_at=NOW,
    )  # fmt: skip
    ledger.end_attempt(job, 1, NOW + timedelta(seconds=1), "done", cost_usd=Decimal(usd))


def test_a_month_is_told_by_client_and_sums_up(home: Path) -> None:
    spend("a", "Acme", "2.5")
    spend("b", "", "1.25")
    spend("c", "Acme", "0.5")
    found = month()
    assert (found["limit"], found["spent"], found["left"]) == (500, 4.25, 495.75)
    assert found["limit_set"] is None
    assert [(c["client"], c["spent"]) for c in found["clients"]] == [("Acme", 3.0), ("", 1.25)]
    shown = run("budget").stdout
    assert "$500.00, the default" in shown
    assert "(no client)" in shown


def test_a_new_limit_says_who_set_it_and_why(home: Path) -> None:
    done = run("budget", "set", "$1,750", "--by", "Ann", "--reason", "two clients more")
    assert "instead of $500.00" in done.stderr
    found = month()
    assert found["limit"] == 1750
    assert found["limit_set"]["set_by"] == "Ann"
    assert found["limit_set"]["note"] == "two clients more"
    assert month("--month", "2020-01")["limit"] == 500
    shown = run("budget").stdout
    assert "$1,750.00, set by Ann" in shown
    assert "(two clients more)" in shown


def test_a_raise_adds_to_what_there_is_and_needs_its_reason(home: Path) -> None:
    run("budget", "raise", "100", "--by", "Ann", "--reason", "one run more")
    assert month()["limit"] == 600
    with pytest.raises(UsageError, match="needs its reason"):
        run("budget", "raise", "100")
    with pytest.raises(UsageError, match="Acme has no budget of its own"):
        run("budget", "raise", "100", "--client", "Acme", "--reason", "why")
    run("budget", "set", "50", "--client", "Acme", "--every-month", "--by", "Ann")
    spend("a", "Acme", "2.5")
    found = month("--client", "Acme")
    assert (found["limit"], found["left"], found["client"]) == (50, 47.5, "Acme")
    assert "own limit" in run("budget").stdout


def test_the_months_report_and_forecast_stand_in_json_too(home: Path) -> None:
    spend("a", "Acme", "2.5")
    run("budget", "raise", "100", "--by", "Ann", "--reason", "one run more")
    report = json.loads(run("budget", "report", "--json").stdout)
    assert report["jobs"] == [{"job_id": "a", "client": "Acme", "status": "created", "usd": 2.5}]
    assert [(d["who"], d["before"], d["after"]) for d in report["audit"]] == [("Ann", 500, 600)]
    assert report["months"][-1]["spent"] == 2.5
    assert "one run more" in run("budget", "report").stdout
    ahead = json.loads(run("budget", "forecast", "--json").stdout)
    assert (ahead["spent"], ahead["likely"], ahead["most"]) == (2.5, 2.5, 2.5)
    assert "at most" in run("budget", "forecast").stdout


def test_thresholds_and_approvers_are_set_and_told(home: Path) -> None:
    run("budget", "limits", "--client", "Acme", "--approve", "80,2x", "--by", "Ann")
    said = run("budget", "limits", "--client", "Acme").stdout
    assert "approval above $80.00 or 2 x the usual cost (set by Ann)" in said
    run("budget", "limits", "--client", "Acme", "--warn", "60", "--by", "Ben")
    said = run("budget", "limits", "--client", "Acme").stdout
    assert "warning above $60.00, approval above $80.00 or 2 x" in said
    run("budget", "limits", "--client", "Acme", "--approve", "default", "--by", "Ben")
    assert (
        "above $60.00, approval above the d" in run("budget", "limits", "--client", "Acme").stdout
    )
    run("budget", "approver", "everybody", "50", "--by", "Ann")
    assert "everybody else may approve up to $50.00" in run("budget", "limits").stdout


@pytest.mark.parametrize(
    "words",
    [("set", "much"), ("set", "NaN"), ("--month", "May"), ("limits", "--warn", "x")],
)
def test_wrong_use_is_told(home: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        run("budget", *words)


def test_the_ledger_is_held_against_this_machines_notional_bill(home: Path) -> None:
    spend("a", "Acme", "2.5")  # no process ever ran: nothing is billed for it
    done = run("reconcile", "--json")
    assert done.exit_code == 0
    (bill,) = json.loads(done.stdout)["bills"]
    assert (bill["provider"], bill["notional"], bill["pods"]) == ("local", True, 1)
    assert (bill["billed_usd"], bill["ledger_usd"], bill["difference_usd"]) == (0, 2.5, -2.5)
    (row,) = bill["differences"]
    assert (row["job_id"], row["alarm"]) == ("a", False)
    shown = run("reconcile", "--since", f"{NOW:%Y-%m-%d}").stdout
    assert "notional bill $0.0000, ledger $2.5000: $2.5000 less than the ledger" in shown
    assert "\u2212$2.5000" in shown


def test_a_billed_pod_of_ours_that_the_ledger_does_not_know_ends_with_1(home: Path) -> None:
    pods = home / "pods"
    pods.mkdir(parents=True)
    record = {"pid": 4194303, "created": NOW.timestamp() - 3600, "usd_per_hour": "0.5"}
    (pods / "br-ghost-1-x.json").write_text(json.dumps(record))
    (pods / "br-ghost-1-x.ended").touch()
    done = run("reconcile")
    assert done.exit_code == 1
    assert "1 ALARM" in done.stdout
    assert "br-ghost-1-x" in done.stdout


def test_the_daily_task_tells_the_same(home: Path) -> None:
    spend("a", "", "2.5")
    found = reconciling.reconcile.fn("local", NOW - timedelta(days=1), datetime.now(UTC))
    assert found["difference_usd"] == -2.5
    assert found["alarms"] == 0
