"""Events: none that matters is lost in an outage of the storage, and memory stays bounded."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_storage import break_storage, mend_storage

from brightrun.runfolder import RunFolder
from trainer import reporter as module
from trainer.reporter import Reporter


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    place = tmp_path / "storage"
    place.mkdir()
    return place


def test_events_of_an_outage_come_afterwards_in_order(storage: Path) -> None:
    folder = RunFolder(f"faulty://{storage}", "job-1")
    reporter = Reporter(folder, 1, {})
    reporter.add("metric", {"step": 1})
    reporter.flush()
    break_storage(storage, "unreachable")
    for step in range(2, 50):
        reporter.add("metric", {"step": step})
        reporter.try_flush()
    mend_storage(storage)
    assert [e.payload["step"] for e in folder.events(1)] == [1]
    reporter.flush()
    found = list(folder.events(1))
    assert [e.payload["step"] for e in found] == list(range(1, 50))
    assert [e.seq for e in found] == list(range(1, 50))


def test_a_long_outage_keeps_what_cannot_be_told_again_and_says_what_is_missing(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 100)
    folder = RunFolder(f"faulty://{storage}", "job-1")
    reporter = Reporter(folder, 1, {})
    break_storage(storage, "SlowDown")
    for step in range(300):
        reporter.add("metric", {"step": step})
    reporter.add("checkpoint", {"step": 299})
    reporter.try_flush()
    assert len(reporter.writer.pending) <= 101
    mend_storage(storage)
    reporter.flush()
    reporter.flush()
    types = [e.type for e in folder.events(1)]
    assert types == ["metric"] * 100 + ["checkpoint", "warning"]
    said = list(folder.events(1))[-1].payload["message"]
    assert said == "200 events were dropped while the storage was away"


def test_a_stage_says_what_it_and_its_processes_took_of_the_processors(storage: Path) -> None:
    folder = RunFolder(f"faulty://{storage}", "job-1")
    reporter = Reporter(folder, 1, {})
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    with reporter.stage("idle"):
        time.sleep(0.2)
    with reporter.stage("busy"):
        subprocess.run([sys.executable, "-c", busy], check=True)
    reporter.flush()
    took = {e.payload["name"]: e.payload for e in folder.events(1) if e.payload.get("cpu_s")}
    assert took["busy"]["cpu_s"] >= 0.2
    assert took["busy"]["elapsed_s"] > 0
    assert "idle" not in took or took["idle"]["cpu_s"] < 0.1


def test_no_heartbeats_pile_up_while_the_storage_is_away(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    folder = RunFolder(f"faulty://{storage}", "job-1")
    reporter = Reporter(folder, 1, {})
    break_storage(storage, "unreachable")
    reporter.start()
    try:
        for _ in range(50):
            reporter.try_flush()
        assert len(reporter.writer.pending) <= 3
    finally:
        mend_storage(storage)
        reporter.close()


def test_a_warning_says_its_mend_and_its_place(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(storage.as_uri(), "job-1")
    reporter = Reporter(folder, 1, {})
    reporter.warn("damaged_checkpoint", "checkpoint of step 4 is not used", step=4)
    reporter.warn("long_context", "2 requests are longer", "long texts", "use fewer examples")
    reporter.flush()
    known, other = [e.payload for e in folder.events(1)]
    assert (known["code"], known["fault"], known["step"]) == (*["damaged_checkpoint"] * 2, 4)
    assert known["fix"] == "nothing: the checkpoint before it is used"
    assert (other["code"], other["fault"]) == ("long_context", "")
    said = capsys.readouterr().out
    assert "warning: checkpoint of step 4 is not used\nLikely cause: an upload" in said
    assert "Fix: nothing: the checkpoint before it is used\n" in said
    assert "See docs/errors.md#damaged-checkpoint\n" in said
    assert said.endswith("Likely cause: long texts\nFix: use fewer examples\n")
