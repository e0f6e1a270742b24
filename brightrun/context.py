"""One job with all it needs: settings, ledger, run folder. Opened afresh by every task."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from brightrun.clock import Clock, SystemClock
from brightrun.compute import provider_of
from brightrun.compute.provider import ComputeProvider
from brightrun.estimates import revised
from brightrun.jobs import JobRequest, JobSpec
from brightrun.ledger import Ledger, Status
from brightrun.liveprices import LivePrices
from brightrun.losses import successions, went_on
from brightrun.outages import waited_out
from brightrun.prices import Live
from brightrun.progress import Progress, progress
from brightrun.recovery import OUTAGE_SECONDS
from brightrun.runfolder import Event, EventType, RunFolder
from brightrun.settings import Settings, load
from brightrun.stopping import obey
from brightrun.verdicts import REPORT

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class JobContext:
    """`job_id` is complete; every property is read when first asked for."""

    settings: Settings
    ledger: Ledger
    job_id: str

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(self.settings.storage, self.job_id)

    @cached_property
    def request(self) -> JobRequest:
        return JobRequest.model_validate(self.ledger.job(self.job_id).request)

    @cached_property
    def spec(self) -> JobSpec:
        """The frozen spec; StorageError before the job was planned."""
        return JobSpec.model_validate(self.folder.read_json("spec.json")["spec"])

    @cached_property
    def provider(self) -> ComputeProvider:
        return provider_of(self.request.provider, self.settings)

    @cached_property
    def live(self) -> LivePrices:
        """What the provider offers now; a provider with one kind of pod is not asked."""
        rents, count = self.provider, self.settings.processes
        far = rents.manners.far_away
        return LivePrices(lambda: Live(offers=rents.offers(count)) if far else Live(), self.clock)

    @cached_property
    def clock(self) -> Clock:
        return SystemClock()

    @property
    def lease_seconds(self) -> int:
        """How long a pod goes on without hearing from us."""
        lease = self.provider.manners.lease_s
        return self.settings.lease_seconds if lease is None else lease

    @property
    def lease_until(self) -> datetime | None:
        """Until when the job's pod may go on by itself; None: it never had one."""
        lease = "control/lease.json"
        if not self.folder.exists(lease):
            return None
        return datetime.fromtimestamp(float(self.folder.read_json(lease)["expires"]), UTC)

    @property
    def reports_folder(self) -> Path:
        """Where the job's report pages lie, whether they are there yet or not."""
        return self.settings.home.resolve() / "reports" / self.job_id

    @property
    def report_url(self) -> str:
        """Over loopback when `make ui` serves the reports, else the file itself."""
        page = f"{REPORT}.html"
        if self.settings.reports_url:
            return f"{self.settings.reports_url.rstrip('/')}/{self.job_id}/{page}"
        return (self.reports_folder / page).as_uri()

    def note(self, type_: EventType, payload: dict[str, Any]) -> None:
        """An event of the control plane itself: attempt 0, straight into the ledger."""
        row = {"ts": self.clock.now(), "attempt": 0, "type": type_, "payload": payload}
        while True:  # another process may take the same number first
            seq = self.ledger.last_seq(self.job_id, 0) + 1
            if self.ledger.ingest(self.job_id, [Event.model_validate({**row, "seq": seq})]):
                return

    def waited_out(
        self, ask: Callable[[], Answer], away: Callable[[Exception], bool] | None = None
    ) -> Answer:
        """`outages.waited_out`; that there is an outage, and its end, are events of the job."""
        return waited_out(
            self.clock, ask, away, on_begin=self.outage_began, on_end=self.outage_ended
        )

    def outage_began(self, error: Exception) -> None:
        said = f"no answer; asked again for up to {OUTAGE_SECONDS / 60:.0f} minutes: {error}"
        self.note("warning", {"code": "outage", "message": said})

    def outage_ended(self, error: Exception, seconds: float) -> None:
        said = f"storage, ledger, provider or Prefect did not answer for {seconds:.0f} s: {error}"
        self.note("warning", {"code": "outage", "message": said})

    def progress(self) -> Progress:
        """How far the job is, from the ledger alone: the same in any process on any machine."""
        row = self.ledger.job(self.job_id)
        expected = (row.estimate or {}).get("stage_seconds", {})
        now = self.clock.now()
        if row.at_rest:
            now = row.finished_at or row.updated_at
        rows = self.ledger.events(self.job_id)
        failed = row.status == Status.failed
        pods = self.ledger.attempts(self.job_id)
        return progress(
            rows, expected, now, ended=row.at_rest, failed=failed,
            interruptions=len(successions(pods)),
            resumed=went_on(pods, row.status == Status.completed, rows),
        )  # fmt: skip

    def revised(self, state: Progress) -> dict[str, Any] | None:
        """The estimate as the pod's own speed has changed it; None before it is known."""
        facts = self.ledger.job(self.job_id).estimate
        if state.calibration is None or not facts or "parts" not in facts:
            return None
        now = self.clock.now()
        pods = self.ledger.attempts(self.job_id)
        rented = sum(((pod.ended_at or now) - pod.launched_at).total_seconds() for pod in pods)
        spent = self.ledger.cost_so_far(self.job_id, now)
        left, shares = state.training_left_s, state.shares_left
        if planned := len(self.request.interrupt_at):
            shares["interruptions"] = max(0, planned - state.interruptions) / planned
        return revised(facts, state.calibration, left, shares, rented, spent)

    @contextmanager
    def stage(self, name: str, status: str) -> Iterator[None]:
        """Record a control-plane stage with its elapsed seconds, and the job's status.

        JobCancelled when somebody has cancelled the job meanwhile.
        """
        obey(self.job_id, self.folder.stop_request())
        started = time.monotonic()
        self.ledger.update_job(self.job_id, status=status, stage=name)
        self.note("stage", {"name": name, "status": "started"})
        yield
        elapsed = round(time.monotonic() - started, 3)
        self.note("stage", {"name": name, "status": "finished", "elapsed_s": elapsed})


def open_job(job_id: str) -> JobContext:
    """The context of a job (full id or unique prefix); ConfigurationError when there is none."""
    settings = load()
    ledger = Ledger.open(settings)
    return JobContext(settings, ledger, ledger.job(job_id).job_id)


def driver_name() -> str:
    """Who drives a job: this process on this host."""
    return f"{socket.gethostname()}:{os.getpid()}"
