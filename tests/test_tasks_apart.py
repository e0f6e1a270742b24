"""A piece of a job in a process of its own: its lines, its answer and its error arrive here."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from commands import furnish
from training_files import document, write_json

from brightrun.context import JobContext, open_job
from brightrun.errors import BrightRunError, DatasetError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load
from tasks import story
from tasks.apart import Apart, a_place, apart, died


def job_of(home: Path, models: Path, file: Path) -> JobContext:
    furnish(home, models)
    wish = JobRequest(training_file=str(file), base_model="tiny", preset="demo")
    Ledger.open(load()).create_job("j1", wish)
    return open_job("j1")


def test_a_job_is_frozen_by_other_processes_and_told_here(
    home: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, int]] = []
    monkeypatch.setattr(story, "tell", lambda text, level: lines.append((text, level)))
    monkeypatch.chdir(tmp_path)
    job = job_of(home, models, write_json(tmp_path / "a.json", document(14, 4)))
    # A folder of the caller's with the name of one of our rooms.
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("raise SystemExit(3)")
    assert ["Conversations", 14] in apart("validate", "j1")["rows"]
    found = apart("plan", "j1")
    assert job.spec.spec_hash() == found == job.ledger.job("j1").spec_hash
    assert [line for line in lines if "No scenario or question shares" in line[0]] == lines
    assert {level for _, level in lines} == {story.INFO}


def test_its_error_is_raised_here_as_what_it_is(home: Path, models: Path, tmp_path: Path) -> None:
    broken = document(3, 2)
    del broken["conversations"][1]["training_pairs"]
    job_of(home, models, write_json(tmp_path / "a.json", broken))
    with pytest.raises(DatasetError, match="defect") as caught:
        apart("validate", "j1")
    assert "nothing was spent" in caught.value.fix
    assert isinstance(caught.value.__cause__, Apart)
    assert "read_file" not in str(caught.value)


def test_no_more_pieces_run_at_once_than_there_are_places(tmp_path: Path) -> None:
    running: list[int] = []
    most: list[int] = []
    both = threading.Barrier(2)

    def work() -> None:
        with a_place(tmp_path / "places", 2):
            running.append(1)
            most.append(len(running))
            both.wait(30)
            time.sleep(0.05)  # a third one would come in now
            running.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(most), max(most)) == (6, 2)
    with pytest.raises(KeyError), a_place(tmp_path / "places", 1):
        raise KeyError
    with a_place(tmp_path / "places", 1):
        pass  # given back


def test_a_process_without_a_word_is_told_with_its_end() -> None:
    killed, failed = died("plan", -9), died("plan", 2)
    assert ("SIGKILL" in killed.message, "memory" in killed.cause) == (True, True)
    assert ("exit status 2" in failed.message, failed.cause) == (True, "")
    assert type(killed) is BrightRunError
