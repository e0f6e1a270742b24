"""The run folder: whole objects, manifest last, nothing trusted unchecked."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brightrun.errors import StorageError
from brightrun.runfolder import EventWriter, RunFolder, checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path.as_uri(), "job-1")


def local(tmp_path: Path, **files: str) -> Path:
    place = tmp_path / "local"
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "-a", "a" * 65, "a b", "a\n"])
def test_only_a_job_id_names_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="no job id"):
        RunFolder(tmp_path.as_uri(), name)


@pytest.mark.parametrize("path", ["../other/spec.json", "/etc/passwd", "a/../../b"])
def test_no_path_leaves_the_run_folder(folder: RunFolder, path: str) -> None:
    for act in (folder.read_bytes, folder.exists, folder.remove, folder.names):
        with pytest.raises(StorageError, match="no path inside"):
            act(path)
    with pytest.raises(StorageError, match="no path inside"):
        folder.write_json(path, {})


def test_an_object_is_never_seen_half_written(folder: RunFolder) -> None:
    """A reader beside a writer sees one of the whole versions, and no temporary file stays."""
    versions = [{"n": n, "text": str(n) * 50_000} for n in range(20)]
    folder.write_json("x/state.json", versions[0])
    stop, torn = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            found = folder.read_json("x/state.json")
            if found not in versions:
                torn.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for version in versions:
        folder.write_json("x/state.json", version)
    stop.set()
    reader.join()
    assert torn == []
    assert [p.name for p in folder.local_path("x").iterdir()] == ["state.json"]


def test_a_write_that_fails_leaves_the_old_object_and_says_what_to_do(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_json("state.json", {"n": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        folder.write_json("state.json", {"n": 2})
    assert "free disk space" in caught.value.fix
    assert folder.read_json("state.json") == {"n": 1}
    assert folder.names("") == ["state.json"]
    assert [p.name for p in folder.local_path().iterdir()] == ["state.json"]


def test_an_upload_that_fails_leaves_nothing(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = local(tmp_path, a="text") / "a"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        folder.upload(source, "deep/a")
    assert list(folder.local_path("deep").iterdir()) == []


def test_what_is_not_there_says_so(folder: RunFolder) -> None:
    with pytest.raises(StorageError, match=r"spec\.json does not exist"):
        folder.read_json("spec.json")
    assert folder.read_jsonl("rows.jsonl") == []
    assert folder.names("nowhere") == []
    assert folder.manifest("adapter") is None
    assert folder.stop_request() is None


def test_a_torn_last_line_is_dropped(folder: RunFolder) -> None:
    folder.write_bytes("rows.jsonl", b'{"n": 1}\n{"n": 2}\n{"n": 3, "te')
    assert folder.read_jsonl("rows.jsonl") == [{"n": 1}, {"n": 2}]


def test_the_manifest_comes_last(folder: RunFolder, tmp_path: Path) -> None:
    order: list[str] = []
    write, upload = folder.write_bytes, folder.upload

    class Watched(RunFolder):
        def write_bytes(self, relative: str, data: bytes) -> None:
            order.append(relative)
            write(relative, data)

        def upload(self, local: Path, relative: str) -> None:
            order.append(relative)
            upload(local, relative)

    watched = Watched(folder.storage_url, folder.job_id)
    watched.upload_folder(local(tmp_path, b="2", a="1"), "adapter", {"step": 4})
    assert order == ["adapter/a", "adapter/b", "adapter/manifest.json"]
    assert (folder.manifest("adapter") or {})["step"] == 4


def test_a_folder_without_its_manifest_does_not_exist(folder: RunFolder, tmp_path: Path) -> None:
    place = local(tmp_path, weights="w")
    folder.upload_folder(place, checkpoint(4), {"step": 4})
    folder.upload(place / "weights", f"{checkpoint(8)}/weights")  # killed while it saved
    assert folder.checkpoints() == [4]
    with pytest.raises(StorageError, match="no manifest"):
        folder.download_folder(checkpoint(8), tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_text("other"), "damaged"),
        (lambda p: p.write_text(""), "damaged"),
        (lambda p: p.unlink(), "missing"),
    ],
)
def test_damage_is_named_with_its_place(
    folder: RunFolder, tmp_path: Path, damage: Any, message: str
) -> None:
    folder.upload_folder(local(tmp_path, weights="right"), checkpoint(4), {})
    damage(folder.local_path(f"{checkpoint(4)}/weights"))
    with pytest.raises(StorageError, match=rf"step-00000004/weights is {message}"):
        folder.download_folder(checkpoint(4), tmp_path / "out")


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/../../evil"])
def test_a_manifest_cannot_write_outside(folder: RunFolder, tmp_path: Path, name: str) -> None:
    folder.write_json("adapter/manifest.json", {"files": {name: {"size": 1, "sha256": "x"}}})
    with pytest.raises(StorageError, match="unsafe file name"):
        folder.download_folder("adapter", tmp_path / "deep" / "out")
    assert not (tmp_path / "evil").exists()


def test_a_folder_loses_its_manifest_before_its_files(folder: RunFolder, tmp_path: Path) -> None:
    folder.upload_folder(local(tmp_path, weights="w"), checkpoint(4), {})
    folder.remove(checkpoint(4))
    assert folder.checkpoints() == []
    folder.remove(checkpoint(4))  # harmless


def test_how_an_attempt_ended(folder: RunFolder) -> None:
    assert folder.marker(1) is None
    folder.write_json("attempts/1/_STOPPED.json", {"reason": "lease"})
    folder.write_json("attempts/2/_DONE", {"steps": 3})
    assert folder.marker(1) == ("_STOPPED.json", {"reason": "lease"})
    assert folder.marker(2) == ("_DONE", {"steps": 3})
    assert folder.attempts() == [1, 2]


def test_the_lease_says_until_when_and_for_whom(folder: RunFolder) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    folder.renew_lease("host:1", 60, now, attempt=2)
    assert folder.read_json("control/lease.json") == {
        "holder": "host:1", "expires": now.timestamp() + 60, "seconds": 60, "attempt": 2,
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    bursts=st.lists(st.integers(0, 4), max_size=8),
    after=st.integers(0, 25),
)
def test_events_are_replayed_from_any_place_without_gap(
    tmp_path_factory: pytest.TempPathFactory, bursts: list[int], after: int
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("events").as_uri(), "job-1")
    writer = EventWriter(folder, 1)
    for burst in bursts:
        for _ in range(burst):
            writer.add("heartbeat", {"n": writer.seq + 1})
        writer.flush()
    total = sum(bursts)
    found = list(folder.events(1, after))
    assert [e.seq for e in found] == list(range(after + 1, total + 1))
    assert all(e.payload == {"n": e.seq} for e in found)


def test_events_that_could_not_be_written_are_written_later(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = EventWriter(folder, 1)
    writer.add("heartbeat", {})

    def away(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as outage:
        outage.setattr("os.fsync", away)
        with pytest.raises(StorageError):
            writer.flush()
    writer.add("heartbeat", {})
    writer.flush()
    writer.flush()
    assert [e.seq for e in folder.events(1)] == [1, 2]
    assert len(folder.event_segments(1)) == 1


def test_a_segment_without_its_last_line_gives_the_events_before_it(folder: RunFolder) -> None:
    row = {"ts": "2026-11-22T12:00:00+00:00", "attempt": 1, "type": "heartbeat", "payload": {}}
    text = json.dumps({**row, "seq": 1}) + "\n" + json.dumps({**row, "seq": 2})[:30]
    folder.write_bytes("attempts/1/events-00000001.jsonl", text.encode())
    assert [e.seq for e in folder.events(1)] == [1]
