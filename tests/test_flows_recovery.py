"""Killed flows, gates and neighbours: whole jobs through the real command line.

The jobs of one home share a Prefect server, as under `make ui`; the two neighbours have their own.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import (
    brightrun,
    finish,
    furnish,
    inside,
    kill,
    ledger,
    run_folder,
    shared_server,
    small_file,
    start,
    steps,
    told_job,
    train_options,
)  # fmt: skip
from team import pods_of
from waiting import until

from brightrun.runfolder import RunFolder

pytestmark = pytest.mark.heavy

LONG = train_options(epochs=4)
TOO_DEAR = {"BRIGHTRUN_APPROVE_ABOVE_USD": "0.000001"}
NO_BUDGET = {"BRIGHTRUN_MONTH_BUDGET_USD": "0.000001"}


@pytest.fixture(scope="module")
def office(
    models: Path, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path]]:
    """A home with a running server, and a training file."""
    place = tmp_path_factory.mktemp("office")
    home = furnish(place / "home", models, migrated)
    with shared_server(home) as url:
        assert url
        yield home, small_file(place)


def pod_process(home: Path, folder: RunFolder, attempt: int) -> psutil.Process:
    name = folder.read_json(f"attempts/{attempt}/launch.json")["pod"]
    return psutil.Process(json.loads((home / "pods" / f"{name}.json").read_text())["pid"])


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def resumed(home: Path, job_id: str, **more: str) -> Any:
    return start(home, "train", "--resume", job_id, "--yes", "--json", **more)


def test_a_rejected_job_ends_and_costs_nothing(office: tuple[Path, Path]) -> None:
    home, file = office
    asked = brightrun(home, "train", str(file), *LONG, "--yes", "--json", **TOO_DEAR)
    assert asked.code == 3
    assert asked.json["status"] == "awaiting_approval"
    job_id = asked.json["job_id"]
    assert f"brightrun approve {job_id}" in asked.err
    said = brightrun(
        home, "approve", job_id, "--approver", "Ann", "--reject", "--reason", "no", "--json"
    )
    assert (said.code, said.json["approved"]) == (0, False)
    row = ledger(home).job(job_id)
    assert row.status == "rejected"
    assert ledger(home).attempts(job_id) == ()
    assert not list((home / "pods").glob("*"))
    again = inside(home, "train", "--resume", job_id, "--yes")
    assert again.code == 1
    assert "was rejected" in again.err


@dataclass(frozen=True)
class Story:
    """What one job told on its way: approved, flow killed, pod adopted, flow killed again, lease
    run out, gone on with."""

    job_id: str
    pods_when_adopted: int
    lease: dict[str, Any]
    stopped_after_s: float
    marker: tuple[str, dict[str, Any]] | None
    result: dict[str, Any]


@pytest.fixture(scope="module")
def story(office: tuple[Path, Path]) -> Story:
    """SIGKILL of the flow in mid-training, twice; its pod is frozen until it is let go."""
    home, file = office
    limits = {**TOO_DEAR, **NO_BUDGET, "BRIGHTRUN_LEASE_SECONDS": "15"}
    asked = brightrun(home, "train", str(file), *LONG, "--yes", "--json", **limits)
    assert asked.code == 3, asked.err
    job_id = asked.json["job_id"]
    override = ("--override-budget", "--reason", "promised")
    said = brightrun(home, "approve", job_id, "--approver", "Ann", *override)
    assert said.code == 0, said.err
    folder = run_folder(home, job_id)

    flow = resumed(home, job_id, **limits)
    until(lambda: steps(folder, 1), what="a step of the first pod")
    pod = pod_process(home, folder, 1)
    pod.suspend()
    kill(flow)
    successor = resumed(home, job_id, **limits)
    until(
        lambda: folder.read_json("control/lease.json")["holder"].endswith(f":{successor.pid}"),
        what="the new flow renews the lease of the pod that it found",
    )
    pods, lease = len(ledger(home).attempts(job_id)), folder.read_json("control/lease.json")
    kill(successor)

    time.sleep(max(0.0, folder.read_json("control/lease.json")["expires"] - time.time()))
    began = time.monotonic()
    pod.resume()
    until(lambda: gone(pod), 30, "the pod stops itself when its lease has run out")
    took, marker = time.monotonic() - began, folder.marker(1)
    done = finish(resumed(home, job_id, **limits))
    assert done.code == 0, done.err
    return Story(job_id, pods, lease, took, marker, done.json)


def test_an_approved_job_above_limit_and_budget_completes(story: Story, office: Any) -> None:
    assert story.result["status"] == "completed"
    word = ledger(office[0]).approval(story.job_id)
    assert word is not None
    assert (word.approver, word.approved, word.override_budget) == ("Ann", True, True)


def test_the_pod_of_a_killed_flow_is_adopted_instead_of_a_second_one(story: Story) -> None:
    assert story.pods_when_adopted == 1
    assert story.lease["attempt"] == 1


def test_a_pod_without_a_driver_stops_itself_within_the_lease(story: Story) -> None:
    assert story.marker == ("_STOPPED.json", {"reason": "lease"})
    assert story.stopped_after_s < 12


def test_a_killed_flow_goes_on_with_a_new_pod_and_repeats_nothing(
    story: Story, office: Any
) -> None:
    home, job_id = office[0], story.job_id
    folder, book = run_folder(home, job_id), ledger(home)
    assert [a.outcome for a in book.attempts(job_id)] == ["stopped:lease", "done"]
    assert book.open_attempts() == ()
    newest = folder.read_json("attempts/2/launch.json")["resumes_from"]
    assert newest == max(steps(folder, 1)) > 0  # it saved before it went
    assert steps(folder, 2) == list(range(newest + 1, story.result["steps"] + 1))
    begun = [
        e.payload["name"]
        for e in book.events(job_id, 0, "stage")
        if e.payload["status"] == "started"
    ]
    assert begun == ["validate", "plan", "estimate", "evaluate", "report", "package"]


def test_an_identical_job_asks_first(story: Story, office: tuple[Path, Path]) -> None:
    """Without a terminal and without --yes nobody can answer: exit 3, and how to go on."""
    home, file = office
    asked = brightrun(home, "train", str(file), *LONG)
    assert asked.code == 3
    job_id = asked.err.split()[1]
    assert f"the same job exists: {story.job_id}, " in asked.err
    assert f"brightrun train --resume {job_id} --yes" in asked.err
    assert ledger(home).attempts(job_id) == ()


SLOW = pytest.mark.slow


@SLOW
def test_an_adopted_pod_finishes_the_job_as_if_nothing_had_happened(
    story: Story, office: tuple[Path, Path]
) -> None:
    home, file = office
    flow = start(home, "train", str(file), *LONG, "--yes", "--json")
    job_id = told_job(flow)
    folder = run_folder(home, job_id)
    until(lambda: steps(folder, 1), what="a step of the pod")
    pod = pod_process(home, folder, 1)
    pod.suspend()
    kill(flow)
    successor = resumed(home, job_id)
    until(
        lambda: folder.read_json("control/lease.json")["holder"].endswith(f":{successor.pid}"),
        what="the new flow renews the lease of the pod that it found",
    )
    pod.resume()
    done = finish(successor)
    assert done.code == 0, done.err
    assert done.json["interruptions"] == 0
    assert [a.outcome for a in ledger(home).attempts(job_id)] == ["done"]
    assert steps(folder, 1) == list(range(1, done.json["steps"] + 1))
    assert done.json["adapter_sha256"] == story.result["adapter_sha256"]  # interrupted or not
    assert gone(pod)
    assert ledger(home).open_attempts() == ()


@pytest.mark.parametrize(
    "way", ["cancel", pytest.param("Ctrl-C", marks=SLOW), pytest.param("SIGTERM", marks=SLOW)]
)
def test_a_stopped_job_keeps_its_checkpoints(office: tuple[Path, Path], way: str) -> None:
    home, file = office
    values = train_options(epochs=20, seed=sum(map(ord, way)))
    flow = start(home, "train", str(file), *values, "--yes", "--json")
    job_id = told_job(flow)
    folder = run_folder(home, job_id)
    until(lambda: folder.checkpoints(), what="a checkpoint")
    pod = pod_process(home, folder, 1)
    if way == "cancel":
        said = brightrun(home, "cancel", job_id, "--by", "Ann", "--json")
        assert said.code == 0, said.err
    else:
        flow.send_signal(signal.SIGINT if way == "Ctrl-C" else signal.SIGTERM)
    done = finish(flow)
    assert done.code == 1
    assert done.json["status"] == "cancelled"
    assert f"brightrun train --resume {job_id}" in done.json["error"]["fix"]
    assert gone(pod)
    assert folder.marker(1) == (
        "_STOPPED.json",
        {"reason": "cancel", "by": "Ann"} if way == "cancel" else {"reason": "sigterm"},
    )
    assert folder.checkpoints()
    assert ledger(home).open_attempts() == ()
    second = inside(home, "cancel", job_id)
    assert second.code == 1
    assert "already cancelled" in second.err


@SLOW
def test_the_first_two_jobs_of_a_machine_run_side_by_side(tmp_path: Path) -> None:
    """One fresh home: both migrate the ledger and Prefect's database and prepare the model."""
    home, file = tmp_path / "home", small_file(tmp_path)
    both = [
        start(home, "train", str(file), *train_options(epochs=1, seed=n), "--yes", "--json")
        for n in (1, 2)
    ]
    ended = [finish(process) for process in both]
    assert [d.code for d in ended] == [0, 0], [d.err[-2000:] for d in ended]
    ids = [d.json["job_id"] for d in ended]
    assert len(set(ids)) == 2
    for done in ended:
        folder = run_folder(home, done.json["job_id"])
        assert done.json["interruptions"] == 0
        assert steps(folder, 1) == list(range(1, done.json["steps"] + 1))
        assert Path(done.json["package"]).is_file()
    listed = inside(home, "jobs", "--json").json["jobs"]
    assert {job["job_id"]: job["status"] for job in listed} == dict.fromkeys(ids, "completed")
    assert pods_of(home) == []
