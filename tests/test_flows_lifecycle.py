"""Names, ids and how an error looks in a run's log."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import pytest

from brightrun.context import open_job
from brightrun.errors import DatasetError
from brightrun.jobs import JobRequest
from flows import lifecycle
from flows.lifecycle import WithoutTraceback, name_of
from flows.lifecycle_ids import job_id_of, new_job_id

RUN = "68a2458c-ec1f-4cac-a25f-e8315331c6a2"


def test_a_run_of_the_form_takes_its_job_id_from_the_run() -> None:
    assert job_id_of("", RUN) == "ui-68a2458cec"
    assert job_id_of("261122-ab12cd", RUN) == "261122-ab12cd"


def test_job_ids_are_short_and_differ() -> None:
    made = {new_job_id() for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"\d{6}-[0-9a-f]{6}", one) for one in made)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"name": "Spring", "training_file": "/d/file.json"}, "ui-68a2458cec Spring"),
        ({"name": "", "training_file": "/d/file.json"}, "ui-68a2458cec file.json"),
        ({"training_file": "registered"}, "ui-68a2458cec registered"),
    ],
)
def test_the_name_of_a_run_holds_its_job_id(wish: dict[str, str], expected: str) -> None:
    assert name_of(wish, "", RUN) == expected


def test_a_notice_that_cannot_be_sent_does_not_hide_why_the_job_failed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_route(job_id: str, what: str) -> None:
        raise OSError("no route")

    monkeypatch.setattr(lifecycle, "notify", no_route)
    request = JobRequest(training_file="f.json")
    with pytest.raises(DatasetError, match="pair #47"), lifecycle.driving(request, "j1"):
        raise DatasetError("pair #47 has no target")
    row = open_job("j1").ledger.job("j1")
    assert row.status == "failed"
    assert row.error is not None
    assert row.error["message"] == "pair #47 has no target"
    assert row.claim is None


def record(error: Exception) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        caught = sys.exc_info()
    return logging.LogRecord("prefect.flow_runs", 40, "f.py", 1, "failed: %r", (error,), caught)


def test_what_a_person_can_cause_is_logged_in_words() -> None:
    said = record(DatasetError("pair #47 has no target", fix="add one"))
    assert WithoutTraceback().filter(said)
    assert said.getMessage() == "pair #47 has no target\nFix: add one"
    assert said.exc_info is None


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    said = record(ZeroDivisionError("division by zero"))
    assert WithoutTraceback().filter(said)
    assert said.exc_info is not None
    assert "ZeroDivisionError" in said.getMessage()
