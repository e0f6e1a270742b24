"""Jobs without a driver are closed; driven ones are left alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from fakes.mail import mail_server
from faulty_storage import refused
from sqlalchemy import event

from brightrun.context import JobContext, open_job
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load
from brightrun.stopping import JobCancelled
from flows import sweeper
from flows.reviving import Seen

NOBODY = 2**22 - 7  # above the largest pid that Linux gives out here by default


@pytest.fixture
def mailbox(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The mails that are sent meanwhile."""
    with mail_server() as (inbox, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield inbox.mails


def job(status: str, claimed_by: int | None = None) -> JobContext:
    """A job of a flow run, driven by a process of this host."""
    settings = load()
    ledger = Ledger.open(settings)
    ledger.create_job("j1", JobRequest(training_file="file.json"))
    ledger.update_job("j1", status=status, flow_run_id="run-1")
    if claimed_by is not None:
        ledger.claim("j1", "driver", pid=claimed_by, host=socket.gethostname())
    return JobContext(settings, ledger, "j1")


def rented(known: JobContext, lease_expires: float) -> None:
    known.folder.write_json("control/lease.json", {"expires": lease_expires, "seconds": 60})
    known.folder.write_json("attempts/1/launch.json", {"resumes_from": 0})
    known.ledger.add_attempt(
        "j1", 1, provider="local", market="on_demand", pod_name="br-j1-1-x",
        usd_per_hour=Decimal("0.5"), launched_at=datetime.now(UTC),
    )  # fmt: skip


def looks(state: str, since: datetime | None = None) -> Seen:
    """A run in that state; since before its job ended if nothing is said."""
    return Seen(state=state, since=since or datetime(2026, 1, 1, tzinfo=UTC), own=True)


def swept(state: str) -> list[str]:
    return sweeper.sweep(Ledger.open(load()), lambda run: {"run-1": state}[run])


def test_a_run_cancelled_at_the_gate_ends_its_job(home: Path) -> None:
    known = job("awaiting_approval")
    assert swept("PAUSED") == []
    assert swept("CANCELLED") == ["j1"]
    row = known.ledger.job("j1")
    assert row.status == "cancelled"
    assert row.error is not None
    assert "train --resume j1" in row.error["fix"]
    assert swept("CANCELLED") == []


def test_a_sweep_reads_the_jobs_that_may_be_meant_and_not_a_years_documents(home: Path) -> None:
    job("completed")
    ledger, asked = Ledger.open(load()), []
    event.listen(ledger.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    assert sweeper.sweep(ledger, lambda run: "RUNNING") == []
    told: list[str] = []
    runs = [("run-1", looks("RUNNING"))]
    sweeper.mend_states(ledger, runs, lambda run, *_, **__: told.append(run))
    reads = [words for words in asked if "spec" in words and "training_jobs" in words]
    assert len(reads) == 2
    assert [words for words in reads if "WHERE" not in words] == []


def test_a_living_driver_keeps_its_job(home: Path) -> None:
    job("running", claimed_by=os.getpid())
    assert swept("CRASHED") == []


def test_a_killed_driver_leaves_a_failed_job_that_can_be_resumed(home: Path) -> None:
    known = job("running", claimed_by=NOBODY)
    assert swept("CRASHED") == ["j1"]
    assert known.ledger.job("j1").status == "failed"


def test_a_pod_is_given_up_only_after_its_lease(home: Path) -> None:
    """Inside the lease another driver may still adopt it, whatever became of the run."""
    now = datetime.now(UTC).timestamp()
    known = job("running", claimed_by=NOBODY)
    rented(known, lease_expires=now + 60)
    assert swept("RUNNING") == []
    known.folder.write_json("control/lease.json", {"expires": now - 1, "seconds": 60})
    assert swept("RUNNING") == ["j1"]
    (attempt,) = open_job("j1").ledger.attempts("j1")
    assert attempt.ended_at is not None
    assert attempt.outcome.startswith("lost")


def test_a_job_that_cannot_be_looked_at_does_not_hide_the_others(home: Path) -> None:
    known = job("awaiting_approval")
    known.ledger.create_job("k1", JobRequest(training_file="file.json"))
    known.ledger.update_job("k1", status="running", flow_run_id="run-2")
    broken = JobContext(known.settings, known.ledger, "k1")
    known.ledger.add_attempt(
        "k1", 1, provider="local", market="on_demand", pod_name="br-k1-1-x",
        usd_per_hour=Decimal("0.5"), launched_at=datetime.now(UTC),
    )  # fmt: skip
    Path(broken.folder.path("control/lease.json")).mkdir(parents=True)  # cannot be read as a file
    states = {"run-1": "CANCELLED", "run-2": "RUNNING"}
    assert sweeper.sweep(known.ledger, states.__getitem__) == ["j1"]
    assert known.ledger.job("k1").status == "running"


def test_a_storage_that_is_away_is_told_in_words(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = job("running")

    def away(run: str) -> str:
        raise refused("ExpiredToken")

    assert sweeper.sweep(known.ledger, away) == []
    assert "the run folder cannot be used" in caplog.text


def test_a_killed_driver_is_told_once(home: Path, mailbox: list[str]) -> None:
    """The dying run's hook and the sweeper both find the job open: one message goes out."""
    known = job("running", claimed_by=NOBODY)
    assert swept("CRASHED") == ["j1"]
    sweeper.ended_without_word(known, "CRASHED")
    assert [mail for mail in mailbox if "job j1 failed" in mail] == mailbox[:1]
    assert "train --resume j1" in mailbox[0]
    known.ledger.update_job("j1", status="running")  # gone on with, and killed again
    assert swept("CRASHED") == ["j1"]
    assert len(mailbox) == 2


def test_a_cancelled_run_is_no_failure_to_tell(home: Path, mailbox: list[str]) -> None:
    job("awaiting_approval")
    assert swept("CANCELLED") == ["j1"]
    assert mailbox == []


@pytest.mark.parametrize(
    ("status", "state", "shown"),
    [
        ("cancelled", "CRASHED", "CANCELLED"),  # stopped together with `make ui`
        ("cancelled", "RUNNING", "CANCELLED"),
        ("failed", "RUNNING", "CRASHED"),  # killed: nobody could say so
        ("failed", "CRASHED", ""),
        ("failed", "FAILED", ""),
        ("cancelled", "CANCELLED", ""),
        ("completed", "CRASHED", "COMPLETED"),  # its server was away when it ended
        ("completed", "RUNNING", "COMPLETED"),
        ("completed", "COMPLETED", ""),
        ("rejected", "RUNNING", "COMPLETED"),
        ("paused", "CRASHED", "COMPLETED"),
        ("awaiting_approval", "RUNNING", ""),
    ],
)
def test_what_prefect_should_show_of_an_ended_job(status: str, state: str, shown: str) -> None:
    assert sweeper.true_state(Status(status), state) == shown


def test_a_run_that_was_stopped_with_its_server_is_shown_as_cancelled(home: Path) -> None:
    known = job("running")
    sweeper.close(known, Status.cancelled, JobCancelled("stopped"))
    told: list[tuple[str, ...]] = []

    def tell(*words: str, name: str | None) -> None:
        assert name is None
        told.append(words)

    runs = [("run-1", looks("CRASHED")), ("somebody's", looks("CRASHED"))]
    assert sweeper.mend_states(known.ledger, runs, tell) == []  # it may still be saying so itself
    assert sweeper.mend_states(known.ledger, runs, tell, grace=0) == ["j1"]
    ((run, state, message),) = told
    assert (run, state) == ("run-1", "CANCELLED")
    assert "stopped" in message
    assert "train --resume j1" in message


def mended(known: JobContext, run: Seen, grace: float = 0) -> list[tuple[str, str | None]]:
    """What the run of the job is told: the message and the state's name."""
    told: list[tuple[str, str | None]] = []

    def tell(run: str, state: str, message: str, name: str | None) -> None:
        assert (run, state) == ("run-1", "COMPLETED")
        told.append((message, name))

    sweeper.mend_states(known.ledger, [("run-1", run)], tell, grace)
    return told


def test_a_run_that_could_not_say_that_its_job_completed_is_shown_as_completed(home: Path) -> None:
    known = job("completed")
    for state in ("RUNNING", "CRASHED"):
        assert mended(known, looks(state)) == [("job j1 is completed", None)]


def test_a_paused_job_is_shown_as_one_that_can_be_gone_on_with(home: Path) -> None:
    known = job("paused")
    assert known.ledger.job("j1").finished_at is None
    assert mended(known, looks("RUNNING"), grace=60) == []
    ((message, name),) = mended(known, looks("RUNNING"))
    assert "train --resume j1" in message
    assert name == "Paused"


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_run_that_a_person_has_put_back_to_work_is_left_to_start(home: Path, state: str) -> None:
    known = job("paused")
    rested = known.ledger.job("j1").updated_at
    assert mended(known, looks(state, since=rested + timedelta(milliseconds=1))) == []
    crashed = looks("CRASHED", since=rested + timedelta(milliseconds=1))
    assert len(mended(known, crashed)) == 1


def test_a_retry_that_never_came_to_its_claim_is_mended_after_its_time(home: Path) -> None:
    known, ago = job("completed"), datetime.now(UTC) - timedelta(hours=1)
    known.ledger.update_job("j1", finished_at=ago)
    assert mended(known, looks("RUNNING", since=ago + timedelta(minutes=55))) == []
    assert len(mended(known, looks("RUNNING", since=ago + timedelta(minutes=45)))) == 1
