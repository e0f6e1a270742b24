"""A job's notes and stages, whichever process writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pod_lives import job_with

from brightrun.context import JobContext
from brightrun.ledger import Ledger
from brightrun.stopping import JobCancelled


def test_notes_of_two_processes_at_once_are_all_kept(home: Path) -> None:
    job = job_with(home)
    job.note("warning", {"message": "one"})
    stale = [0]  # what this process read before another one wrote number 1

    class Racing(Ledger):
        def last_seq(self, job_id: str, attempt: int) -> int:  # type: ignore[override]
            return stale.pop() if stale else super().last_seq(job_id, attempt)

    racing = JobContext(job.settings, Racing(job.ledger.engine, job.settings), "job-1")
    racing.note("warning", {"message": "two"})
    said = [e.payload["message"] for e in job.ledger.events("job-1", 0)]
    assert said == ["one", "two"]


def test_a_job_cancelled_without_a_pod_stops_before_its_next_stage(home: Path) -> None:
    job = job_with(home)
    with job.stage("report", "reporting"):
        job.folder.request_stop("cancel", "Ann")
    with pytest.raises(JobCancelled, match="cancelled by Ann"), job.stage("package", "reporting"):
        pytest.fail("the stage began")
    job.folder.request_stop("budget", "the hard limit")  # costs nothing without a pod
    with job.stage("package", "reporting"):
        pass
