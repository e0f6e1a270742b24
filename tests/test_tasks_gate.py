"""The gate, task bodies called plainly: what opens it, what is written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.mail import mail_server
from pydantic import ValidationError
from waiting import until

from brightrun import nightly
from brightrun.context import JobContext
from brightrun.jobs import (
    BaseModelRef,
    Confirm,
    DataRef,
    Hyperparameters,
    JobRequest,
    JobSpec,
)
from brightrun.ledger import Ledger
from brightrun.settings import load
from tasks import gate

ANSWER = {"approve": True, "approver": "Ada", "note": "fine", "override_budget": False}


def job(
    high: float = 1.0, confirm: Confirm = Confirm.always, *, repeat: bool = True, **more: str
) -> JobContext:
    """A job that has its estimate and stands before the gate."""
    settings = load()
    ledger = Ledger.open(settings)
    said = {"training_file": "f.json", "confirm": confirm, "repeat": repeat, **more}
    ledger.create_job("j1", JobRequest.model_validate(said))
    known = JobContext(settings, ledger, "j1")
    facts: dict[str, Any] = {
        "cost_usd": {"low": high / 4, "likely": high / 2, "high": high},
        "price": {"usd_per_hour": 0.5, "source": "test", "as_of": "2026-01-01"},
        "made_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
    }
    known.folder.write_json("estimate.json", facts)
    ledger.update_job("j1", estimate=facts)
    return known


def spec() -> JobSpec:
    data = DataRef(
        name="file", source_sha256="a", train_sha256="b", validation_sha256="c",
        train_conversations=10, validation_conversations=2, supervised_pairs=37,
        train_tokens=1000, supervised_tokens=400,
    )  # fmt: skip
    base = BaseModelRef(name="tiny", context=8192, template="chatml")
    return JobSpec(base_model=base, data=data, values=Hyperparameters(), plan_sha256="p", threads=2)


def test_a_persons_run_waits_and_says_why(home: Path) -> None:
    known = job()
    assert gate.gate.fn("j1") == "waiting"
    assert known.ledger.job("j1").status == "awaiting_approval"
    asked = known.folder.read_json("question.json")
    assert "started by a person" in asked["reasons"][0]
    assert asked["budget"]["left"] == 500.0


def test_the_forms_answer_opens_the_gate_and_is_recorded(home: Path) -> None:
    known = job()
    assert gate.gate.fn("j1") == "waiting"
    gate.record.fn("j1", ANSWER)
    assert gate.gate.fn("j1") == "go"
    word = known.ledger.approval("j1")
    assert word is not None
    assert (word.approved, word.approver, word.note) == (True, "Ada", "fine")
    passed = known.folder.read_json("gate.json")
    assert (passed["by"], passed["how"]) == ("Ada", "confirmed")  # below the limits
    assert gate.gate.fn("j1") == "go"


def test_a_rejected_job_ends_and_nothing_is_rented(home: Path) -> None:
    known = job()
    gate.record.fn("j1", {**ANSWER, "approve": False})
    assert gate.gate.fn("j1") == "rejected"
    row = known.ledger.job("j1")
    assert row.status == "rejected"
    assert row.finished_at is not None
    assert known.ledger.attempts("j1") == ()
    assert not known.folder.exists("gate.json")


def test_a_scheduled_run_below_the_limits_passes(home: Path) -> None:
    known = job(confirm=Confirm.above_limits)
    assert gate.gate.fn("j1") == "go"
    assert known.folder.read_json("gate.json")["by"] == "policy"
    assert known.ledger.job("j1").hard_limit_usd == pytest.approx(1.25)  # 1.25 x the high end


def test_above_the_limit_even_a_scheduled_run_waits(home: Path) -> None:
    job(high=151.0, confirm=Confirm.above_limits)
    assert gate.gate.fn("j1") == "waiting"


def test_passing_the_budget_takes_an_override_which_widens_the_hard_limit(home: Path) -> None:
    """An approval without the override is not enough: the question is asked again."""
    known = job(high=600.0)
    gate.record.fn("j1", ANSWER)
    assert gate.gate.fn("j1") == "waiting"
    assert "does not override" in known.folder.read_json("question.json")["reasons"][0]
    gate.record.fn("j1", {**ANSWER, "override_budget": True, "note": " "})  # nor one without why
    assert gate.gate.fn("j1") == "waiting"
    gate.record.fn("j1", {**ANSWER, "override_budget": True})
    assert gate.gate.fn("j1") == "go"
    passed = known.folder.read_json("gate.json")
    assert passed["hard_limit_usd"] == pytest.approx(750.0)
    assert passed["how"] == "approved"


def test_more_than_a_night_has_left_is_an_approval_and_whoever_keeps_the_budget_hears_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGHTRUN_NIGHTLY_BUDGET_USD", "0.50")
    with mail_server() as (inbox, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        night = {"requested_by": nightly.BY, "notes": nightly.note("2026-11-23")}
        known = job(confirm=Confirm.above_limits, **night)
        assert gate.gate.fn("j1") == "waiting"
        assert known.folder.read_json("question.json")["action"] == "approve"
        gate.record.fn("j1", ANSWER)
        assert gate.gate.fn("j1") == "go"
        passed = known.folder.read_json("gate.json")
        assert (passed["by"], passed["how"]) == ("Ada", "approved")
        until(lambda: any("was approved" in mail for mail in inbox.mails))
        (mail,) = (mail for mail in inbox.mails if "was approved" in mail)
        assert "By Ada: fine" in mail


def test_a_word_about_an_older_estimate_is_void(home: Path) -> None:
    known = job()
    known.ledger.add_approval(
        "j1", approved=True, approver="Ada", at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert gate.gate.fn("j1") == "waiting"


def test_the_same_job_is_not_paid_for_twice_unasked(home: Path) -> None:
    """A scheduled run below the limits would pass: the earlier job makes it a question."""
    known = job(confirm=Confirm.above_limits, repeat=False)
    same = spec()
    known.folder.write_json("spec.json", {"spec": same.model_dump(mode="json")})
    assert gate.gate.fn("j1") == "go"
    known.folder.remove("gate.json")
    known.ledger.create_job("j0", JobRequest(training_file="f.json", requested_by="Bea"))
    known.ledger.update_job("j0", spec_hash=same.spec_hash(), status="running")
    assert gate.gate.fn("j1") == "waiting"
    asked = known.folder.read_json("question.json")
    assert asked["action"] == "confirm"
    assert "j0, Bea" in asked["reasons"][-1]


def test_who_agreed_beforehand_to_pay_again_is_told_of_the_earlier_job(home: Path) -> None:
    known = job(confirm=Confirm.above_limits)
    same = spec()
    known.folder.write_json("spec.json", {"spec": same.model_dump(mode="json")})
    assert gate.warned(known) == ()
    known.ledger.create_job("j0", JobRequest(training_file="f.json", requested_by="Bea"))
    known.ledger.update_job("j0", spec_hash=same.spec_hash(), status="running")
    assert "j0, Bea" in gate.warned(known)[0]
    assert gate.gate.fn("j1") == "go"


@pytest.mark.parametrize(
    "answer",
    [{"approver": "Ada"}, {"approve": True, "approver": ""}, {"approve": True, "approver": " "}],
)
def test_an_empty_answer_is_refused(home: Path, answer: dict[str, Any]) -> None:
    job()
    with pytest.raises(ValidationError):
        gate.record.fn("j1", answer)


def test_a_higher_limit_of_another_process_does_not_pass_an_approval_that_was_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(high=151.0, confirm=Confirm.above_limits)
    assert gate.gate.fn("j1") == "waiting"
    monkeypatch.setenv("BRIGHTRUN_APPROVE_ABOVE_USD", "400")
    assert gate.gate.fn("j1") == "waiting"
    gate.record.fn("j1", ANSWER)
    assert gate.gate.fn("j1") == "go"
