"""Background uploads: training waits for a slow storage, not for one that is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_storage import break_storage, mend_storage
from waiting import until

from brightrun.errors import StorageError
from brightrun.runfolder import RunFolder, checkpoint
from trainer import control, saver
from trainer.control import ASKED_GRACE, SIGTERM_GRACE, Control, Stop, StopRequested
from trainer.patience import Limits, Outages, PatientFolder
from trainer.reporter import Reporter
from trainer.saver import Saver
from trainer.uploads import Saved, Uploads


def local(place: Path, step: int) -> Path:
    folder = place / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    fill(folder, step)
    return folder


def fill(folder: Path, step: int) -> None:
    for name in ("a", "b", "c"):
        (folder / name).write_text(f"{name} of {step}")


class Gate:
    """A send that waits until it is let through."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.entered = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def send(self, saved: Saved) -> None:
        self.entered.release()
        assert self.let.acquire(timeout=20)
        self.sent.append(saved.step)


def test_a_newer_checkpoint_replaces_a_waiting_one_and_submitting_never_waits(
    tmp_path: Path,
) -> None:
    gate = Gate()
    uploads = Uploads(gate.send)
    folders = {step: local(tmp_path, step) for step in (1, 2, 3, 4)}
    uploads.submit(Saved(folders[1], 1))
    assert gate.entered.acquire(timeout=20)
    for step in (2, 3, 4):
        uploads.submit(Saved(folders[step], step))
    assert gate.sent == []  # the gate is shut: whoever waited for it would still wait
    # The local disk holds the one under way and the newest.
    assert [step for step in folders if folders[step].exists()] == [1, 4]
    assert not uploads.drain(0.05)
    gate.let.release(2)
    assert uploads.drain(20)
    assert gate.sent == [1, 4]
    assert not any(folder.exists() for folder in folders.values())


def test_a_step_waits_for_the_checkpoint_that_it_needs_and_for_no_other(tmp_path: Path) -> None:
    gate = Gate()
    uploads = Uploads(gate.send, stored=1)
    uploads.submit(Saved(local(tmp_path, 2), 2))
    assert gate.entered.acquire(timeout=20)
    assert uploads.keep_up(1, 0)  # training goes on beside it
    uploads.submit(Saved(local(tmp_path, 3), 3))
    assert not uploads.keep_up(2, 0.05)
    gate.let.release()
    assert uploads.keep_up(2, 20)
    assert gate.sent == [2]
    assert not uploads.keep_up(3, 0.05)
    gate.let.release()
    assert uploads.drain(20)
    # Nothing is under way: nobody waits for what could not be written.
    assert uploads.keep_up(4, 0)


def test_a_failed_upload_is_raised_in_the_training_thread_once(tmp_path: Path) -> None:
    def fail(saved: Saved) -> None:
        raise StorageError(f"step {saved.step}")

    uploads = Uploads(fail)
    uploads.submit(Saved(local(tmp_path, 1), 1))
    assert uploads.drain(20)
    with pytest.raises(StorageError, match="step 1"):
        uploads.check()
    uploads.check()


class Office:
    """A saver on a faulty storage, with the control of attempt 1."""

    def __init__(self, tmp_path: Path, limits: Limits) -> None:
        self.storage = tmp_path / "storage"
        self.scratch = tmp_path / "scratch"
        self.scratch.mkdir()
        self.plain = RunFolder(self.storage.as_uri(), "job-1")
        self.plain.write_json("spec.json", {})
        self.reporter = Reporter(self.plain, 1, {})
        self.stops: list[Stop] = []
        self.control = Control(self.plain, self.stops.append, 1)
        self.outages = Outages(self.reporter, limits)
        self.folder = PatientFolder(
            f"faulty://{self.storage}", "job-1", self.outages, self.control.wait
        )
        self.saver = Saver(self.folder, self.reporter, self.control, {})

    def save(self, step: int) -> None:
        place = self.scratch / f"checkpoint-{step}"
        self.saver.save(place, step, {}, 0.0, lambda folder: fill(folder, step))

    def codes(self) -> list[str]:
        self.reporter.flush()
        return [e.payload["code"] for e in self.plain.events(1) if e.type == "warning"]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, Limits(60, 60))


def test_training_goes_on_while_the_storage_is_down(office: Office) -> None:
    break_storage(office.storage, "SlowDown", only="checkpoints")
    with office.saver.draining():
        office.save(2)
        until(lambda: office.codes() == ["storage_away"])
        until(lambda: office.outages.going_on)
        for step in (4, 6):  # training goes on and saves
            assert not office.saver.behind(step - 2)
            office.saver.check()
            office.save(step)
        assert office.plain.checkpoints() == []
        mend_storage(office.storage)
    assert office.plain.checkpoints() == [2, 6]
    assert office.codes() == ["storage_away", "storage_back"]


def test_training_waits_for_a_slow_storage_and_says_so(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage answers every call, and takes long over one."""
    monkeypatch.setattr(saver, "SLOW_SECONDS", 0.0)
    slow, stored = threading.Event(), RunFolder.upload

    def upload(folder: RunFolder, file: Path, relative: str) -> None:
        assert slow.wait(20)
        stored(folder, file, relative)

    monkeypatch.setattr(RunFolder, "upload", upload)
    office.save(2)
    until(lambda: office.saver.uploads._running is not None)
    assert not office.saver.behind(0)
    office.save(4)
    assert office.saver.behind(2)
    assert office.saver.behind(2)
    assert office.codes() == ["storage_slow"]
    slow.set()
    until(lambda: not office.saver.behind(2))
    assert 2 in office.plain.checkpoints()
    assert office.saver.uploads.drain(20)
    assert office.plain.checkpoints() == [2, 4]


@pytest.mark.parametrize("end", ["stop", "patience"])
def test_the_wait_for_a_slow_storage_ends(tmp_path: Path, end: str) -> None:
    office, gate = Office(tmp_path, Limits(0.0 if end == "patience" else 60.0)), Gate()
    office.saver.uploads = Uploads(gate.send)
    office.save(2)
    assert gate.entered.acquire(timeout=20)
    office.save(4)
    assert office.saver.behind(2) == (end == "stop")
    if end == "stop":
        office.control._notice(Stop("pause"))
    assert not office.saver.behind(2)
    gate.let.release(2)
    assert office.saver.uploads.drain(20)


def test_without_a_stored_checkpoint_the_pod_ends_when_patience_does(tmp_path: Path) -> None:
    office = Office(tmp_path, Limits(60, 0.3))
    office.save(2)
    assert office.saver.uploads.drain(20)
    break_storage(office.storage, "ExpiredToken", only="checkpoints")
    office.save(4)

    def train() -> None:
        with office.saver.draining():
            until(lambda: office.saver.check())

    with pytest.raises(StorageError, match="credentials have expired") as caught:
        train()
    assert "step-00000004" in caught.value.message
    assert office.codes() == ["storage_expired"]
    mend_storage(office.storage)
    assert office.plain.checkpoints() == [2]


def test_a_stop_stores_what_there_is_time_for(office: Office) -> None:
    def stopped() -> None:
        with office.saver.draining():
            office.save(2)
            office.control._notice(Stop("budget"))
            office.saver.check()

    with pytest.raises(StopRequested):
        stopped()
    assert office.plain.checkpoints() == [2]


def test_a_stop_that_another_process_noticed_first_stores_too(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one's watcher notices it while the upload is under way."""
    monkeypatch.setattr(control, "POLL_SECONDS", 60.0)  # however late it comes
    noticed = threading.Timer(0.5, office.control._notice, [Stop("pause")])

    def stopped() -> None:
        with office.saver.draining():
            office.save(2)
            noticed.start()
            raise StopRequested

    with pytest.raises(StopRequested):
        stopped()
    assert office.plain.checkpoints() == [2]
    assert office.control.stop == Stop("pause")


def test_a_stop_is_noticed_once_and_its_time_is_known_with_it(office: Office) -> None:
    assert office.control._notice(Stop("budget"))
    assert not office.control._notice(Stop("sigterm"))
    assert office.control.stop == Stop("budget")
    assert office.control.time_to_store() <= ASKED_GRACE


def test_a_stop_does_not_wait_for_a_storage_that_is_away(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_storage(office.storage, "unreachable", only="checkpoints")

    def stopped() -> None:
        with office.saver.draining():
            office.save(2)
            office.control._notice(Stop("sigterm"))
            office.saver.check()

    given: list[float] = []
    drain = office.saver.uploads.drain

    def seen(seconds: float, hurry: bool = True) -> bool:
        given.append(seconds)
        return drain(seconds, hurry)

    monkeypatch.setattr(office.saver.uploads, "drain", seen)
    with pytest.raises(StopRequested):
        stopped()
    assert len(given) == 1
    assert 0 < given[0] < SIGTERM_GRACE < office.saver.patience


def test_a_pod_with_a_successor_stores_and_removes_nothing_more(office: Office) -> None:
    office.save(2)
    assert office.saver.uploads.drain(20)
    office.plain.write_json("control/lease.json", {"attempt": 2, "expires": 9e9, "seconds": 60})
    before = sorted(str(p) for p in office.plain.local_path("checkpoints").rglob("*"))
    office.save(4)
    assert office.saver.uploads.drain(20)
    assert sorted(str(p) for p in office.plain.local_path("checkpoints").rglob("*")) == before
    with pytest.raises(StopRequested):
        office.saver.check()
    until(lambda: office.stops)
    assert office.stops[0].marker() == {"reason": "superseded", "by": "attempt 2"}


def test_a_successor_in_the_middle_of_an_upload_leaves_it_without_manifest(
    office: Office,
) -> None:
    break_storage(office.storage, "SlowDown", only="/b")
    office.save(4)
    until(lambda: office.codes() == ["storage_away"])  # the first file is there
    office.plain.write_json("control/lease.json", {"attempt": 2, "expires": 9e9, "seconds": 60})
    mend_storage(office.storage)
    assert office.saver.uploads.drain(20)
    assert office.plain.names(checkpoint(4)) == ["a"]
    assert office.plain.checkpoints() == []


def test_a_full_local_disk_costs_one_checkpoint_and_later_the_pod(tmp_path: Path) -> None:
    office = Office(tmp_path, Limits(60, 0.0))

    def write(local: Path) -> None:
        (local / "part").write_text("half")
        raise OSError(28, "No space left on device")

    def lose(step: int, write: Callable[[Path], None] = write) -> None:
        office.saver.save(office.scratch / f"checkpoint-{step}", step, {}, 0.0, write)
        assert office.saver.uploads.drain(20)

    lose(2)
    assert office.saver.lost
    assert office.codes() == ["disk_full"]
    assert not list(office.scratch.iterdir())
    office.saver.check()  # training goes on
    office.save(4)
    assert not office.saver.lost
    assert office.saver.uploads.drain(20)
    assert office.codes() == ["disk_full", "storage_back"]
    lose(6)
    lose(8)
    with pytest.raises(StorageError, match="on the pod failed: the disk or the storage is full"):
        office.saver.check()
    assert office.plain.checkpoints() == [4]

    def bug(local: Path) -> None:
        raise ValueError("a bug")

    lose(10, bug)
    with pytest.raises(ValueError, match="a bug"):
        office.saver.check()


def test_a_checkpoint_is_complete_or_absent(office: Office) -> None:
    office.save(2)
    assert office.saver.uploads.drain(20)
    manifest = office.plain.manifest(checkpoint(2)) or {}
    assert set(manifest["files"]) == {"a", "b", "c"}
