"""A job whose driver died without a word goes on in its own run, and not for ever."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fakes.clock import ManualClock
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed
from sqlalchemy import event
from test_flows_sweeper import NOBODY, rented

from brightrun.clock import SystemClock
from brightrun.context import JobContext
from brightrun.errors import LedgerAway, StorageError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load
from flows import lifecycle, reviving, sweeper
from flows.finetune import finetune
from flows.reviving import Seen, UnderWay

AGO = timedelta(minutes=5)
HERE = socket.gethostname()


class Runs:
    """A Prefect server's run of the job: its state, and what was put back into the queue."""

    def __init__(self, state: str, *, deployed: bool = True) -> None:
        self.state, self.deployed, self.revived = state, deployed, list[str]()
        self.started = datetime.now(UTC) - timedelta(hours=1)

    def look(self, run: str) -> Seen:
        return Seen(state=self.state, since=self.started, own=self.deployed)

    def state_of(self, run: str) -> str:
        return self.state

    def revive(self, run: str, message: str, judged: Seen) -> bool:
        if self.look(run) != judged:
            return False
        self.revived.append(message)
        self.state, self.started = "SCHEDULED", datetime.now(UTC)
        return True

    def revivals(self, run: str) -> int:
        return len(self.revived)

    def sweep(self) -> list[str]:
        return sweeper.sweep(Ledger.open(load()), self.state_of, self)


def orphan(pid: int = NOBODY, host: str = HERE, ago: timedelta = AGO) -> JobContext:
    """A running job whose driver gave its last sign some time ago."""
    settings = load()
    ledger = Ledger.open(settings)
    ledger.create_job("j1", JobRequest(training_file="file.json"))
    ledger.update_job("j1", status="running", flow_run_id="run-1")
    ledger.claim("j1", "driver", pid=pid, host=host, now=datetime.now(UTC) - ago)
    return JobContext(settings, ledger, "j1")


def status(job: JobContext) -> str:
    return str(job.ledger.job("j1").status)


@pytest.mark.parametrize("state", ["RUNNING", "CRASHED"])
def test_a_job_whose_driver_was_killed_goes_on_in_its_own_run(home: Path, state: str) -> None:
    job, runs = orphan(), Runs(state)
    assert runs.sweep() == []
    assert (status(job), job.ledger.job("j1").claim) == ("running", None)
    (said,) = runs.revived
    assert "driver 1 of 5" in said
    assert runs.sweep() == []  # it waits for a worker
    assert len(runs.revived) == len(reviving.losses(job.ledger, "j1")) == 1


def test_its_pod_is_left_for_the_next_driver_to_adopt(home: Path) -> None:
    job, runs = orphan(), Runs("RUNNING")
    rented(job, lease_expires=time.time() + 60)
    assert runs.sweep() == []
    assert len(runs.revived) == len(job.ledger.open_attempts()) == 1


def test_a_new_process_has_time_to_come_to_its_claim(home: Path) -> None:
    """Its pod's lease may run out while it starts; the books are its own to close."""
    job, runs = orphan(), Runs("RUNNING")
    rented(job, lease_expires=time.time() - 60)
    runs.sweep()
    for runs.state in ("SCHEDULED", "PENDING", "RUNNING"):
        assert runs.sweep() == []
        assert (len(runs.revived), len(job.ledger.open_attempts())) == (1, 1)


def test_who_gave_a_sign_a_moment_ago_is_waited_for(home: Path) -> None:
    """The worker of a killed run may be telling its state just now."""
    job, runs = orphan(ago=timedelta(seconds=20)), Runs("CRASHED")
    assert (runs.sweep(), runs.revived, status(job)) == ([], [], "running")


@pytest.mark.parametrize(("minutes", "revived"), [(1, 0), (11, 1)])
def test_a_process_that_a_person_has_started_again_is_left_to_start(
    home: Path, minutes: int, revived: int
) -> None:
    """Prefect's Retry after a kill: the run began to run after the dead driver's last sign."""
    job, runs = orphan(ago=timedelta(minutes=20)), Runs("RUNNING")
    runs.started = datetime.now(UTC) - timedelta(minutes=minutes)
    assert (runs.sweep(), len(runs.revived), status(job)) == ([], revived, "running")


@pytest.mark.parametrize(
    ("pid", "host", "ago", "revived"),
    [
        (os.getpid(), HERE, timedelta(0), 0),
        (NOBODY, "elsewhere", timedelta(seconds=100), 0),
        (NOBODY, "elsewhere", timedelta(seconds=130), 1),
    ],
    ids=["a process of this host", "heard of lately", "silent"],
)
def test_a_living_driver_keeps_its_job(
    home: Path, pid: int, host: str, ago: timedelta, revived: int
) -> None:
    job, runs = orphan(pid, host, ago), Runs("RUNNING")
    assert (runs.sweep(), len(runs.revived), status(job)) == ([], revived, "running")


def test_a_job_that_loses_driver_after_driver_ends(home: Path) -> None:
    job, runs = orphan(), Runs("CRASHED")
    for _ in range(reviving.MOST):
        assert runs.sweep() == []
        runs.state = "CRASHED"
    assert runs.sweep() == ["j1"]
    assert (status(job), len(runs.revived)) == ("failed", reviving.MOST)


@pytest.mark.parametrize(
    ("ago", "deployed"), [(timedelta(hours=25), True), (AGO, False)], ids=["old", "the terminal's"]
)
def test_what_nobody_expects_to_go_on_is_closed(home: Path, ago: timedelta, deployed: bool) -> None:
    job, runs = orphan(ago=ago), Runs("RUNNING", deployed=deployed)
    assert (runs.sweep(), runs.revived, status(job)) == (["j1"], [], "failed")


def test_a_cancel_that_nobody_could_carry_out_is_one(home: Path) -> None:
    job, runs = orphan(), Runs("CANCELLING")
    assert (runs.sweep(), runs.revived, status(job)) == (["j1"], [], "cancelled")


def test_of_two_sweepers_one_puts_it_back(home: Path) -> None:
    job, runs = orphan(), Runs("RUNNING")
    row = job.ledger.job("j1")
    seen = runs.look("run-1")
    for _ in range(2):  # both have read the same row and the same run
        assert reviving.goes_on(job, row, seen, runs)
    assert len(runs.revived) == len(reviving.losses(job.ledger, "j1")) == 1


def test_a_cancel_that_comes_while_a_run_is_judged_wins(home: Path) -> None:
    job, runs = orphan(), Runs("RUNNING")
    row, seen = job.ledger.job("j1"), runs.look("run-1")
    runs.state = "CANCELLING"
    assert reviving.goes_on(job, row, seen, runs)
    assert (runs.revived, reviving.losses(job.ledger, "j1")) == ([], [])
    assert (runs.sweep(), status(job)) == (["j1"], "cancelled")


def test_a_job_that_cannot_be_put_back_just_now_is_put_back_by_the_next_sweep(home: Path) -> None:
    """The server goes away under the sweeper: that the job had a driver is not forgotten."""
    job, runs = orphan(), Runs("RUNNING")
    claim = job.ledger.job("j1").claim

    class Away(Runs):
        def revive(self, run: str, message: str, judged: Seen) -> bool:
            raise StorageError("the server is away")

    assert Away("RUNNING").sweep() == []
    assert job.ledger.job("j1").claim == claim
    assert (runs.sweep(), len(runs.revived)) == ([], 1)


def test_a_sweeper_keeps_no_claim_when_the_ledger_goes_away_under_it(home: Path) -> None:
    job, runs = orphan(), Runs("RUNNING")
    vars(job)["clock"] = ManualClock(start=datetime.now(UTC))
    release, tries = job.ledger.release_claim, list[Any]()

    def away(*what: Any) -> None:
        tries.append(what)
        if len(tries) < 3:
            raise LedgerAway("no answer")
        release(*what)

    vars(job.ledger)["release_claim"] = away
    assert reviving.goes_on(job, job.ledger.job("j1"), runs.look("run-1"), runs)
    assert (len(tries), job.ledger.job("j1").claim) == (3, None)


@pytest.mark.parametrize(("deployed", "ends"), [(True, "running"), (False, "failed")])
def test_the_hook_of_a_crash_ends_only_what_nobody_goes_on_with(
    home: Path, deployed: bool, ends: str
) -> None:
    job = orphan()
    run = FlowRun(
        flow_id=uuid4(), parameters={"job_id": "j1"}, deployment_id=uuid4() if deployed else None
    )
    lifecycle.release_pods(finetune, run, Crashed())
    assert status(job) == ends


NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATE, LATELY = NOW - timedelta(minutes=11), NOW - timedelta(minutes=9)


@pytest.mark.parametrize(
    ("state", "since", "job_id", "revived"),
    [
        ("PENDING", LATE, "", True),
        ("PENDING", LATELY, "", False),
        ("PENDING", LATE, "begun", True),
        ("RUNNING", LATE, "", True),
        ("RUNNING", LATE, "submitted", True),
        ("RUNNING", LATE, "begun", False),
        ("RUNNING", LATE, "unclaimed", True),
        ("RUNNING", LATE, "over", False),
        ("CRASHED", LATE, "", True),
        ("CRASHED", LATELY, "", False),
        ("CRASHED", NOW - timedelta(hours=25), "", False),
        ("CRASHED", LATE, "unclaimed", False),  # a job's own sweep goes on with it
        ("CRASHED", LATE, "over", False),
    ],
)
def test_a_run_that_its_worker_never_started_goes_back(
    home: Path, state: str, since: datetime, job_id: str, revived: bool
) -> None:
    ledger = Ledger.open(load())
    for name in ("submitted", "begun", "unclaimed", "over"):
        ledger.create_job(name, JobRequest(training_file="file.json"))
    # It was put back, and its next process never came to its claim.
    ledger.update_job("unclaimed", status=Status.running)
    ledger.update_job("over", status=Status.completed)
    ledger.claim("begun", "driver", pid=os.getpid())
    runs = Runs(state)
    runs.started = since
    run = UnderWay(flow_run_id="r1", seen=runs.look("r1"), job_id=job_id)
    found = reviving.restart_unbegun(ledger, [run], ManualClock(start=NOW), runs)
    assert found == (["r1"] if revived else [])


def test_a_run_that_crashes_before_its_job_again_and_again_stays_crashed(home: Path) -> None:
    ledger, runs = Ledger.open(load()), Runs("CRASHED")
    for _ in range(reviving.MOST + 2):
        runs.state, runs.started = "CRASHED", LATE
        run = UnderWay(flow_run_id="r1", seen=runs.look("r1"))
        reviving.restart_unbegun(ledger, [run], ManualClock(start=NOW), runs)
    assert (runs.state, len(runs.revived)) == ("CRASHED", reviving.MOST)


def test_of_runs_that_are_long_under_way_their_own_jobs_are_read_and_not_all(home: Path) -> None:
    ledger, asked = Ledger.open(load()), list[str]()
    ledger.create_job("begun", JobRequest(training_file="file.json"))
    ledger.claim("begun", "driver", pid=os.getpid())
    runs = Runs("RUNNING")
    run = UnderWay(flow_run_id="r1", seen=runs.look("r1"), job_id="begun")
    event.listen(ledger.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    assert reviving.restart_unbegun(ledger, [run], SystemClock(), runs) == []
    reads = [words for words in asked if "training_jobs" in words]
    assert reads
    assert [words for words in reads if "WHERE" not in words] == []


@pytest.mark.parametrize(("state", "deployed"), [("PENDING", False), ("RUNNING", True)])
def test_a_run_that_is_not_a_deployments_or_has_moved_meanwhile_is_left(
    home: Path, state: str, deployed: bool
) -> None:
    runs = Runs("PENDING", deployed=deployed)
    runs.started = LATE
    run = UnderWay(flow_run_id="r1", seen=runs.look("r1"))
    runs.state = state
    ledger = Ledger.open(load())
    assert reviving.restart_unbegun(ledger, [run], ManualClock(start=NOW), runs) == []
    assert runs.revived == []
